"""Synthetic skin conductance: seeds, levels, responses and noise."""

from itertools import islice

import numpy as np
import pytest

from ekd_edge.errors import SignalError
from firmware_bridge.synthesis import OrnsteinUhlenbeck, Physiology, SkinConductance, simulated_blocks

RATE = 32.0


def render(seed: int, arousal: float, minutes: float = 10.0, people: Physiology | None = None) -> np.ndarray:
    return SkinConductance(RATE, seed, people).render(np.full(int(minutes * 60 * RATE), arousal))


def test_seed_gives_the_same_signal_in_any_pieces() -> None:
    arousal = np.sin(np.arange(6000) / 500.0)
    whole = SkinConductance(RATE, 3).render(arousal)
    person = SkinConductance(RATE, 3)
    pieces = [person.render(part) for part in np.split(arousal, [1, 8, 700, 701, 4000, 4000])]
    np.testing.assert_allclose(np.concatenate(pieces), whole, rtol=1e-9)
    assert not np.array_equal(SkinConductance(RATE, 4).render(arousal), whole)


def test_levels_are_plausible_for_people() -> None:
    signals = [render(seed, 0.0, minutes=5.0) for seed in range(60)]
    medians = np.array([np.median(signal) for signal in signals])
    assert np.all((medians > 1.5) & (medians < 25))
    assert np.mean((medians > 2) & (medians < 20)) > 0.95
    assert 4.5 < np.median(medians) < 9
    assert min(signal.min() for signal in signals) > 0.05


@pytest.mark.parametrize(("arousal", "low", "high"), [(-1.0, 1.0, 3.5), (1.0, 15.0, 25.0)])
def test_responses_come_at_the_stated_rate(arousal: float, low: float, high: float) -> None:
    still = Physiology(drift=1e-9, artefacts_per_minute=0.0, noise_us=0.0, response_spread=0.0, non_responders=0)
    signal = render(1, arousal, minutes=60.0, people=still)
    # The slope jumps at an onset, because a Bateman curve starts with its steepest rise.
    onsets = np.sum(np.diff(signal, 2) > 0.3 * np.diff(signal, 2).max())
    assert low < onsets / 60 < high


def test_response_has_textbook_latency_rise_and_recovery() -> None:
    once = Physiology(
        drift=1e-9, artefacts_per_minute=0.0, noise_us=0.0, response_spread=0.0, non_responders=0,
        calm_per_minute=1.0, aroused_per_minute=1.0, tonic_gain=0.0,
    )  # fmt: skip
    signal = render(5, 0.0, minutes=20.0, people=once)
    excess = signal / signal.min() - 1.0
    onset = int(np.flatnonzero(excess > 1e-6)[0])
    peak = onset + int(np.argmax(excess[onset : onset + int(4 * RATE)]))
    half = peak + int(np.flatnonzero(excess[peak:] < excess[peak] / 2)[0])
    assert excess[peak] == pytest.approx(0.06, rel=0.1)
    assert 0.5 <= (peak - onset) / RATE <= 5
    assert 2 <= (half - peak) / RATE <= 10


def test_arousal_raises_the_level_of_all_but_non_responders() -> None:
    for seed in range(5):
        assert np.median(render(seed, 1.0)) > np.median(render(seed, -1.0))
    silent = SkinConductance(RATE, 0, Physiology(non_responders=1.0))
    assert not silent.responder
    quiet = silent.render(np.ones(3000))
    assert np.ptp(quiet) < 0.2 * silent.level_us


def test_noise_has_the_stated_spread_and_time_constant() -> None:
    wander = OrnsteinUhlenbeck(np.random.default_rng(0), 4.0, 5.0, 0.5).render(80_000)
    assert wander.std() == pytest.approx(0.5, rel=0.05)
    lag = np.corrcoef(wander[:-20], wander[20:])[0, 1]
    assert lag == pytest.approx(np.exp(-1), abs=0.06)


def test_simulated_blocks_are_endless_seeded_and_plausible() -> None:
    blocks = list(islice(simulated_blocks(19.2, seed=7), 3000))
    assert {len(block) for block in blocks} == {2}
    other = list(islice(simulated_blocks(19.2, seed=7, block_samples=100), 60))
    np.testing.assert_allclose(np.concatenate(other), np.concatenate(blocks), rtol=1e-9)
    signal = np.concatenate(blocks)
    assert 1 < np.median(signal) < 25
    assert np.ptp(signal) > 0.2


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(SignalError, match="positive"):
        next(simulated_blocks(rate))


def test_empty_arousal_gives_no_samples() -> None:
    assert SkinConductance(RATE, 0).render(np.zeros(0)).shape == (0,)
