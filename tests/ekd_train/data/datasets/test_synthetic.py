from fractions import Fraction

import numpy as np
import pytest

from ekd_edge.errors import DataError
from ekd_train.data.datasets.synthetic import CHANNELS, SyntheticConfig, SyntheticDataset, synthesize
from ekd_train.data.windows import Recording

SHORT = SyntheticConfig(subjects=3, trials=6, trial_s=20.0)


@pytest.fixture(scope="module")
def sessions() -> list[Recording]:
    config = SyntheticConfig(subjects=8)
    return [synthesize(config, k) for k in range(8)]


def test_subject_depends_only_on_seed_and_index() -> None:
    one = synthesize(SHORT, 2)
    other = synthesize(SyntheticConfig(subjects=40, trials=6, trial_s=20.0), 2)
    assert one.eeg is not None
    assert other.eeg is not None
    np.testing.assert_array_equal(one.gsr, other.gsr)
    np.testing.assert_array_equal(one.eeg, other.eeg)
    assert one.trials == other.trials
    without = synthesize(SHORT, 2, eeg=False)
    np.testing.assert_array_equal(without.gsr, one.gsr)
    assert without.trials == one.trials
    assert without.eeg is None
    for changed in (synthesize(SHORT, 1), synthesize(SyntheticConfig(trials=6, trial_s=20.0, seed=1), 2)):
        assert not np.array_equal(changed.gsr, one.gsr)


def test_session_has_the_sizes_of_the_config(sessions: list[Recording]) -> None:
    session = sessions[0]
    assert session.rate_hz == Fraction(128)
    assert session.gsr.shape == (20 * 60 * 128,)
    assert session.eeg is not None
    assert session.eeg.shape == (8, 20 * 60 * 128)
    assert session.channels == CHANNELS[:8]
    assert [trial.start_s for trial in session.trials] == [60.0 * k for k in range(20)]
    assert [trial.end_s for trial in session.trials] == [60.0 * (k + 1) for k in range(20)]


def test_ratings_are_balanced_and_in_range(sessions: list[Recording]) -> None:
    for target in ("arousal", "valence"):
        ratings = np.array([[trial.ratings[target] for trial in session.trials] for session in sessions])
        assert ratings.min() >= 1
        assert ratings.max() <= 9
        assert 0.4 < np.mean(ratings > 5) < 0.6
        assert np.all((np.mean(ratings > 5, axis=1) > 0.2) & (np.mean(ratings > 5, axis=1) < 0.8))


def test_signals_are_physiological(sessions: list[Recording]) -> None:
    for session in sessions:
        assert 1.5 < np.median(session.gsr) < 25
        assert session.gsr.min() > 0.3
        assert session.gsr.max() < 60
        assert session.eeg is not None
        assert np.all((session.eeg.std(axis=1) > 3) & (session.eeg.std(axis=1) < 40))


def test_eeg_is_within_4_to_45_hz_and_alpha_decreases_with_arousal(sessions: list[Recording]) -> None:
    falls = []
    for session in sessions:
        assert session.eeg is not None
        trials = session.eeg.reshape(8, 20, -1)
        hz = np.fft.rfftfreq(trials.shape[2], 1 / 128)
        power = np.abs(np.fft.rfft(trials, axis=2)) ** 2
        inside = (hz > 3) & (hz < 46)
        assert power[..., inside].sum() > 0.98 * power.sum()
        alpha = np.log(power[..., (hz > 8) & (hz < 13)].sum(axis=2)).mean(axis=0)
        falls.append(np.corrcoef(alpha, [trial.ratings["arousal"] for trial in session.trials])[0, 1])
    assert np.mean(falls) < -0.6


def test_skin_conductance_increases_with_arousal(sessions: list[Recording]) -> None:
    rises = []
    for session in sessions:
        level = np.log(session.gsr).reshape(20, -1)
        change = level[:, -30 * 128 :].mean(axis=1) - np.median(level)
        rises.append(np.corrcoef(change, [trial.ratings["arousal"] for trial in session.trials])[0, 1])
    assert np.mean(rises) > 0.2


def test_hard_and_default_have_different_identities() -> None:
    hard = SyntheticDataset(SyntheticConfig(difficulty="hard", seed=5))
    assert hard.identity == "synthetic:hard?seed=5"
    assert SyntheticDataset().identity == "synthetic?seed=0"


def test_channel_names_are_unique() -> None:
    assert len(set(CHANNELS)) == 32
    session = synthesize(SyntheticConfig(trials=2, trial_s=5.0, eeg_channels=32), 0)
    assert session.eeg is not None
    assert len(session.eeg) == 32


def test_zero_eeg_channels_give_no_eeg() -> None:
    dataset = SyntheticDataset(SyntheticConfig(subjects=1, trials=2, trial_s=5.0, eeg_channels=0))
    assert not dataset.has_eeg
    assert next(dataset.read(dataset.subjects)).eeg is None


@pytest.mark.parametrize(
    "values",
    [
        {"subjects": 0},
        {"trials": 5},
        {"trial_s": 0.0},
        {"trial_s": float("nan")},
        {"eeg_channels": 33},
        {"rate_hz": 64},
        {"seed": -1},
        {"difficulty": "odd"},
    ],
)
def test_configs_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(DataError):
        SyntheticConfig(**values)  # type: ignore[arg-type]


def test_unknown_subject_is_refused() -> None:
    with pytest.raises(DataError, match="no subject 's009'"):
        next(SyntheticDataset(SHORT).read(["s009"]))
