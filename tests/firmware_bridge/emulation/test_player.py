"""Playback of emulated devices, and resampling of their waveforms."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.devices.emulator import Burst
from firmware_bridge.devices.waveform import at_rate
from firmware_bridge.emulation.line_faults import Fault
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.script import ScriptedEmulator


def player(faults: list[Fault] | None = None, **options: float) -> Player:
    bursts = [Burst(samples, b"%d " % samples) for samples in range(0, 80, 8)]
    return Player(ScriptedEmulator(bursts, Fraction(8)), faults=faults or [], **options)  # type: ignore[arg-type]


def times(played: Player, until_s: float, step_s: float = 0.05) -> dict[str, float]:
    """The time at which each burst was first read, by a clock that advances in steps."""
    seen = {}
    for tick in range(int(until_s / step_s) + 1):
        for word in played.take(tick * step_s).decode().split():
            seen[word] = tick * step_s
    return seen


def test_player_plays_at_real_time_and_faster() -> None:
    assert times(player(), 20)["72"] == pytest.approx(9, abs=0.06)
    assert times(player(speed=3), 20)["72"] == pytest.approx(3, abs=0.06)
    assert set(times(player(speed=0), 20).values()) == {0}


def test_player_plays_at_full_speed_after_the_paced_part() -> None:
    seen = times(player(paced_s=2), 20)
    assert seen["16"] == pytest.approx(2, abs=0.06)
    assert seen["24"] == seen["72"] == pytest.approx(2, abs=0.06)


def test_player_ends_unless_it_stays() -> None:
    ending, staying = player(speed=0), player(speed=0, stay=True)
    for played in (ending, staying):
        played.take(0)
    assert ending.at_end
    assert not staying.at_end
    assert staying.due_s == float("inf")


def test_stall_delays_all_bytes() -> None:
    seen = times(player([Fault("stall", 3.0, 2.0)]), 20)
    assert seen["8"] == pytest.approx(1, abs=0.06)
    assert seen["16"] == seen["32"] == pytest.approx(5, abs=0.06)
    assert seen["48"] == pytest.approx(6, abs=0.06)


def test_fast_clock_sends_early() -> None:
    assert times(player([Fault("ppm", 100_000)]), 20)["72"] == pytest.approx(9 / 1.1, abs=0.06)


def test_unplug_fault_sets_the_time_for_the_caller() -> None:
    played = player([Fault("unplug", 4.0, 3.0)], speed=0)
    assert played.take(0) == b"0 8 16 "
    assert played.unplugged_s == 4.0
    played.plug_in(4.0)
    assert played.unplugged_s is None
    assert played.take(4.0).startswith(b"32 ")


def test_drop_loses_bytes_and_flip_changes_bits() -> None:
    whole = player(speed=0).take(0)
    assert len(player([Fault("drop", 0.5)], speed=0).take(0)) < len(whole)
    flipped = player([Fault("flip", 0.5)], speed=0).take(0)
    assert len(flipped) == len(whole)
    assert flipped != whole
    assert player([Fault("flip", 0.0), Fault("drop", 0.0)], speed=0).take(0) == whole


@given(
    st.lists(st.floats(-100, 100, width=16), min_size=1, max_size=60),
    st.fractions(Fraction(1, 2), 40, max_denominator=8),
    st.fractions(Fraction(1, 2), 40, max_denominator=8),
    st.lists(st.integers(0, 60), max_size=5),
)
def test_resampling_is_linear_interpolation_in_any_pieces(
    values: list[float], from_hz: Fraction, to_hz: Fraction, cuts: list[int]
) -> None:
    signal = np.array(values, dtype=np.float64)
    pieces = np.split(signal, sorted(cut % (len(signal) + 1) for cut in cuts))
    got = np.concatenate([np.empty(0), *at_rate(pieces, from_hz, to_hz)])
    count = int((len(signal) - 1) * to_hz / from_hz) + 1
    expected = np.interp(np.arange(count) * float(from_hz / to_hz), np.arange(len(signal)), signal)
    assert len(got) == (len(signal) if from_hz == to_hz else count)
    np.testing.assert_allclose(got, expected, atol=1e-9)
