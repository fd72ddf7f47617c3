"""Lost samples of recordings: found by the time column, and the windows over their gaps."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.errors import DataError
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.design import eeg_spec, gsr_spec
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_train.data.convert import Cutting, convert
from ekd_train.data.datasets.recordings import RecordingsDataset, write_recording
from ekd_train.data.lost_samples import with_lost
from ekd_train.data.windows import Recording, Trial

GSR = gsr_spec(rate_hz=Fraction(16), window_s=4.0, hop_s=1.0, bridge_s=0.5)
EEG = eeg_spec(rate_hz=Fraction(16), window_s=4.0, hop_s=1.0, bridge_s=0.5)
RATE = Fraction(128)


def recording(lost: list[tuple[int, int]], seconds: int = 40) -> Recording:
    """40 s at 128 Hz with two EEG channels, without the samples from start up to stop of each pair."""
    n = seconds * 128
    rng = np.random.default_rng(2)
    mask = np.zeros(n, np.bool_)
    for start, stop in lost:
        mask[start:stop] = True
    gsr, eeg = 5.0 + rng.normal(size=n).cumsum() * 0.001, rng.normal(size=(2, n))
    gsr[mask], eeg[:, mask] = np.nan, np.nan
    trials = (Trial("t", 0.0, float(seconds), {"arousal": 7.0}),)
    return Recording("r", "p", gsr, RATE, trials, eeg, ("F3", "F4"), lost=mask if lost else None)


def received(session: Recording) -> list[SampleBlock]:
    """The blocks that a device gets."""
    assert session.lost is not None
    pieces = np.split(np.arange(len(session.gsr)), np.flatnonzero(np.diff(session.lost)) + 1)
    return [SampleBlock(session.gsr[at], int(at[0]), RATE) for at in pieces if not session.lost[at[0]]]


@pytest.mark.parametrize("features", ["raw", "bandpower"])
@pytest.mark.parametrize("lost", [[(1000, 1064)], [(0, 5), (1000, 1065), (2000, 2001), (5100, 5120)]])
def test_windows_over_lost_samples_are_those_of_a_device(lost: list[tuple[int, int]], features: str) -> None:
    session = recording(lost)
    live = list(Preprocessor(GSR).windows(received(session)))
    conversion = convert(session, Cutting(GSR, EEG, features))  # type: ignore[arg-type]
    assert list(conversion.trials[0].end_s) == [window.end_s for window in live]
    assert len(live) > 15
    for row, window in zip(conversion.gsr, live, strict=True):
        np.testing.assert_array_equal(row, window.values)
    assert conversion.eeg is not None
    assert conversion.eeg.shape == (len(live), 2 if features == "raw" else 4, 64)
    assert np.isfinite(conversion.eeg).all()


def test_windows_of_which_too_much_was_lost_are_left_out_and_counted() -> None:
    lost = [(1000 + 128 * k, 1050 + 128 * k) for k in range(8)]
    (trial,) = convert(recording(lost), Cutting(GSR)).trials
    assert trial.left_out >= 8
    (whole,) = convert(recording([]), Cutting(GSR)).trials
    assert trial.left_out + len(trial.end_s) == len(whole.end_s) > 30


def test_restarted_trial_of_which_all_samples_were_lost_has_no_windows() -> None:
    session = recording([(0, 1280)])
    trials = (Trial("a", 0.0, 5.0, {"arousal": 7.0}), Trial("b", 15.0, 40.0, {"arousal": 2.0}))
    conversion = convert(replace(session, trials=trials), Cutting(GSR, EEG, "bandpower", state="restarted"))
    assert [list(trial.end_s)[:1] for trial in conversion.trials] == [[], [19.0]]


def test_recording_without_lost_samples_has_the_windows_of_one_block() -> None:
    session = recording([])
    whole = convert(session, Cutting(GSR, EEG))
    marked = convert(replace(session, lost=np.zeros(len(session.gsr), np.bool_)), Cutting(GSR, EEG))
    np.testing.assert_array_equal(whole.gsr, marked.gsr)


def test_lost_samples_leave_nan_at_their_positions() -> None:
    index = np.delete(np.arange(1000), [3, 10, 11, 12])
    filled = with_lost(np.stack([index, -index]).astype(float), index)
    assert np.flatnonzero(np.isnan(filled[0])).tolist() == [3, 10, 11, 12]
    assert filled[1][index].tolist() == (-index).tolist()


@pytest.mark.parametrize(("rate", "tick_s"), [(4, 1.0), (128, 0.02), (100, 0.0156)])
def test_coarse_clock_shows_no_lost_samples(lines_folder: Callable[..., Path], rate: int, tick_s: float) -> None:
    times = np.floor(np.arange(2000) / rate / tick_s) * tick_s
    text = "time_s,gsr\n" + "".join(f"{time:.6f},5\n" for time in times)
    assert next(RecordingsDataset(lines_folder(text)).read(["p1"])).lost is None


def lines(lost: range) -> str:
    return "millis,gsr\n" + "".join(f"{50 * k},{5 + k / 1000}\n" for k in range(200) if k not in lost)


def test_time_column_of_a_recording_shows_lost_samples(lines_folder: Callable[..., Path]) -> None:
    dataset = RecordingsDataset(lines_folder(lines(range(60, 64))))
    (session,) = dataset.read(["p1"])
    assert session.rate_hz == 20
    assert session.lost is not None
    assert np.flatnonzero(session.lost).tolist() == [60, 61, 62, 63]
    assert len(session.gsr) == 200
    assert session.gsr[64] == 5.064
    assert dataset.notes == ("reading a.csv: 20 Hz, uS from column gsr, 196 samples, 1 gap of 0.2 s",)
    with pytest.raises(DataError, match="samples of a were lost"):
        write_recording(lines_folder(lines(range(0))) / "b.csv", session)


def test_time_column_with_a_long_hole_keeps_the_times_of_later_samples(lines_folder: Callable[..., Path]) -> None:
    session = next(RecordingsDataset(lines_folder(lines(range(60, 170)))).read(["p1"]))
    assert session.lost is not None
    assert np.flatnonzero(session.lost).tolist() == list(range(60, 170))
    assert session.gsr[170] == 5.17
