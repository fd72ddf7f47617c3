from collections.abc import Callable
from dataclasses import fields, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.errors import DataError
from ekd_edge.model.manifest import HighRule
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.design import eeg_spec, gsr_spec
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.signal.spec import Normalization, SignalSpec
from ekd_train.data.band_power import BANDS, EegFeatures, band_power, band_power_spec
from ekd_train.data.convert import Cutting, convert
from ekd_train.data.windows import Conversion, ConvertedTrial, Recording, WindowSet, choose

GSR = gsr_spec(rate_hz=Fraction(16), window_s=4.0, hop_s=1.0, settle_s=2.0)
EEG = eeg_spec(rate_hz=Fraction(16), window_s=4.0, hop_s=1.0, settle_s=2.0)


def assert_equal(one: WindowSet, other: WindowSet) -> None:
    for name in (field.name for field in fields(WindowSet)):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def cut_windows(
    recording: Recording,
    gsr: SignalSpec,
    eeg: SignalSpec | None,
    targets: tuple[str, ...],
    eeg_features: EegFeatures = "raw",
    notify: Callable[[str], None] | None = None,
    high: HighRule = "above",
) -> WindowSet:
    """Return the labeled windows of one recording."""
    return choose(convert(recording, Cutting(gsr, eeg, eeg_features)), targets, high=high, notify=notify)


def joined(sessions: list[Recording]) -> Conversion:
    """Return the conversion of several recordings, as the cache stores it for a dataset."""
    parts = [convert(session, Cutting(GSR, EEG)) for session in sessions]
    return Conversion(
        np.concatenate([part.gsr for part in parts]),
        np.concatenate([part.eeg for part in parts if part.eeg is not None]),
        tuple(trial for part in parts for trial in part.trials),
        GSR.window_s,
    )


def test_windows_are_entirely_inside_a_trial(flat: Callable[..., Recording]) -> None:
    recording = flat(40, (0, 10, 2.0), (10, 13.9, 8.0), (20.5, 30, 9.0))
    notes: list[str] = []
    windows = cut_windows(recording, GSR, None, ("arousal",), notify=notes.append)
    starts = windows.end_s - 4.0
    assert list(zip(windows.trial.tolist(), starts.tolist(), strict=True)) == [
        *(("t0", float(s)) for s in range(2, 7)),
        *(("t2", float(s)) for s in range(21, 27)),
    ]
    assert notes == ["trial t1 of flat is shorter than a window of 4 s"]
    assert windows.labels[:, 0].tolist() == [0] * 5 + [1] * 6
    assert windows.ratings.dtype == np.float32


def test_windows_equal_those_of_the_preprocessor(small_sessions: list[Recording]) -> None:
    session = small_sessions[0]
    windows = cut_windows(session, GSR, None, ("arousal", "valence"))
    live = {w.end_s: w.values for w in Preprocessor(GSR).push(SampleBlock(session.gsr, 0, session.rate_hz))}
    assert len(windows) > 20
    for end_s, values in zip(windows.end_s, windows.gsr, strict=True):
        np.testing.assert_array_equal(values, live[end_s])


@pytest.mark.parametrize(("rate", "features", "rows"), [(128, "raw", 2), (16, "bandpower", 4), (32, "raw", 2)])
def test_gsr_and_eeg_windows_end_at_the_same_times(
    small_sessions: list[Recording], rate: int, features: str, rows: int
) -> None:
    gsr = gsr_spec(rate_hz=Fraction(rate), window_s=4.0, hop_s=1.0)
    eeg = eeg_spec(rate_hz=Fraction(rate), window_s=4.0, hop_s=1.0)
    session = small_sessions[1]
    # GSR and EEG are the same signal here, so their windows must be equal.
    both = replace(session, eeg=np.stack([session.gsr, session.gsr]))
    windows = cut_windows(session, gsr, eeg, ("arousal",), eeg_features=features)  # type: ignore[arg-type]
    assert windows.eeg is not None
    assert windows.eeg.shape == (len(windows), rows, gsr.window_samples)
    if features == "raw":
        same = cut_windows(both, gsr, replace(gsr, unit="uV"), ("arousal",))
        assert same.eeg is not None
        np.testing.assert_array_equal(same.eeg[:, 0], same.gsr)
        np.testing.assert_array_equal(same.end_s, windows.end_s)


def test_specs_with_different_timing_are_refused(small_sessions: list[Recording]) -> None:
    with pytest.raises(DataError, match="differ in rate, window, hop, settle time or bridged gaps"):
        cut_windows(small_sessions[0], GSR, replace(EEG, settle_s=1.0), ("arousal",))


def test_missing_eeg_is_refused(flat: Callable[..., Recording]) -> None:
    with pytest.raises(DataError, match="has no EEG: add columns named eeg_NAME"):
        cut_windows(flat(20, (0, 20, 2.0)), GSR, EEG, ("arousal",))


def test_relative_gsr_needs_a_z_score_normalization(flat: Callable[..., Recording]) -> None:
    recording = replace(flat(20, (0, 20, 2.0)), gsr_unit="relative")
    with pytest.raises(DataError, match=r"has relative skin conductance, .* set signal.normalization=ema-zscore"):
        cut_windows(recording, GSR, None, ("arousal",))
    zscore = replace(GSR, normalization=Normalization("ema-zscore"))
    assert len(cut_windows(recording, zscore, None, ("arousal",)))


def test_nan_in_a_recording_is_refused(flat: Callable[..., Recording]) -> None:
    recording = flat(20, (0, 20, 2.0))
    values = recording.gsr.copy()
    values[100] = np.nan
    with pytest.raises(DataError, match=r"recording flat: .*sample 100"):
        cut_windows(replace(recording, gsr=values), GSR, None, ("arousal",))


def test_unrated_trials_are_reported(flat: Callable[..., Recording]) -> None:
    recording = flat(40, (0, 20, 2.0), (20, 40, 7.0))
    unrated = replace(recording.trials[1], ratings={})
    notes: list[str] = []
    windows = cut_windows(
        replace(recording, trials=(recording.trials[0], unrated)),
        GSR,
        None,
        ("arousal",),
        notify=notes.append,
    )
    assert set(windows.trial) == {"t0"}
    assert notes == ["1 trials of flat have no rating of arousal"]


def test_band_power_shows_each_wave_in_its_band() -> None:
    t = np.arange(128 * 20) / 128
    waves = np.stack([10 * np.sin(2 * np.pi * 10 * t), 4 * np.sin(2 * np.pi * 20 * t)])
    power = band_power(waves, Fraction(128))[:, -128:].mean(axis=1).reshape(len(BANDS), 2)
    np.testing.assert_allclose(power, [[50, 0], [0, 8]], atol=1.0)
    assert np.all(band_power(waves * 0, Fraction(128)) > 0)
    with pytest.raises(DataError, match="64 Hz or more"):
        band_power(waves, Fraction(50))


def test_band_power_is_causal() -> None:
    rng = np.random.default_rng(0)
    waves = rng.standard_normal((1, 2000))
    changed = waves.copy()
    changed[:, 1500:] += 5
    before, after = (band_power(x, Fraction(128)) for x in (waves, changed))
    np.testing.assert_array_equal(before[:, :1500], after[:, :1500])
    assert band_power_spec(EEG).sos == ()


def test_select_indexes_all_arrays_alike(small_sessions: list[Recording]) -> None:
    windows = choose(joined(small_sessions), ("arousal",))
    assert windows.subjects == ("s000", "s001", "s002")
    two = windows.of_subjects(["s002", "s000"])
    assert two.subjects == ("s000", "s002")
    assert two.eeg is not None
    assert len(two.eeg) == len(two) == sum(windows.subject != "s001")
    picked = windows.select([5, 1])
    np.testing.assert_array_equal(picked.gsr, windows.gsr[[5, 1]])
    np.testing.assert_array_equal(
        windows.select(windows.subject == "s001").trial, windows.trial[windows.subject == "s001"]
    )
    assert len(windows.select(slice(0, 3))) == 3
    assert len(windows.select([])) == 0
    with pytest.raises(DataError, match="subject 'x' has no windows"):
        windows.of_subjects(["x"])
    with pytest.raises(ValueError, match="read-only"):
        windows.gsr[0, 0] = 1


def test_arrays_of_unequal_length_are_refused(small_sessions: list[Recording]) -> None:
    windows = cut_windows(small_sessions[0], GSR, None, ("arousal",))
    with pytest.raises(ValueError, match="trial has"):
        replace(windows, trial=windows.trial[1:])
    with pytest.raises(ValueError, match="one rating"):
        replace(windows, targets=("a", "b"))
    conversion = convert(small_sessions[0], Cutting(GSR))
    with pytest.raises(ValueError, match="its arrays have another number"):
        replace(conversion, trials=conversion.trials[1:])


def test_choose_returns_views_of_contiguous_windows(small_sessions: list[Recording]) -> None:
    conversion = joined(small_sessions)
    everyone, two = choose(conversion, ("arousal",)), choose(conversion, ("arousal",), subjects=["s001", "s002"])
    apart = choose(conversion, ("arousal",), subjects=["s002", "s000"])
    for windows in (everyone, two):
        assert windows.eeg is not None
        assert np.shares_memory(windows.gsr, conversion.gsr)
        assert np.shares_memory(windows.eeg, conversion.eeg)
        assert not windows.eeg.flags.writeable
    assert np.shares_memory(everyone.of_subjects(["s000", "s001"]).gsr, conversion.gsr)
    assert not np.shares_memory(apart.gsr, conversion.gsr)
    assert apart.subjects == ("s000", "s002")
    for name in ("s000", "s001", "s002"):
        alone = cut_windows(small_sessions[int(name[1:])], GSR, EEG, ("arousal",))
        for windows in (everyone, two, apart):
            if name in windows.subjects:
                assert_equal(windows.of_subjects([name]), alone)


def test_unrated_trial_is_left_out_at_any_position(small_sessions: list[Recording]) -> None:
    first, *rest = small_sessions[0].trials
    trials = (first, replace(rest[0], ratings={"valence": 3.0}), *rest[1:])
    recording = replace(small_sessions[0], trials=trials)
    whole = cut_windows(small_sessions[0], GSR, EEG, ("arousal",))
    assert_equal(cut_windows(recording, GSR, EEG, ("arousal",)), whole.select(whole.trial != "t01"))
    assert set(cut_windows(recording, GSR, EEG, ("valence",)).trial) == {"t00", "t01", "t02", "t03"}
    assert len(choose(convert(recording, Cutting(GSR)), ("joy",))) == 0


@pytest.mark.parametrize(("high", "labels"), [("above", [0, 0, 1]), ("at-or-above", [0, 1, 1])])
def test_rating_at_the_threshold_is_high_with_at_or_above(
    flat: Callable[..., Recording], high: HighRule, labels: list[int]
) -> None:
    recording = flat(30, (0, 10, 4.99), (10, 20, 5.0), (20, 30, 5.01))
    windows = cut_windows(recording, GSR, None, ("arousal",), high=high)
    assert [int(windows.labels[windows.trial == f"t{k}", 0].max()) for k in range(3)] == labels
    assert [int(windows.labels[windows.trial == f"t{k}", 0].min()) for k in range(3)] == labels


@given(threshold=st.floats(1, 9), ratings=st.lists(st.floats(1, 9), min_size=1, max_size=5))
def test_rules_for_high_differ_only_at_the_threshold(threshold: float, ratings: list[float]) -> None:
    trials = tuple(ConvertedTrial("p", "r", f"t{k}", {"a": rating}, (4.0,)) for k, rating in enumerate(ratings))
    conversion = Conversion(np.zeros((len(ratings), 1), np.float32), None, trials, 4.0)
    strict, loose = (choose(conversion, ("a",), threshold, high) for high in ("above", "at-or-above"))
    at = strict.ratings == np.float32(threshold)
    np.testing.assert_array_equal(strict.labels | at, loose.labels)
    np.testing.assert_array_equal(strict.labels & at, 0)
