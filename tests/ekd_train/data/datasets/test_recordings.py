import csv
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.errors import DataError
from ekd_train.data.datasets.recordings import RecordingsDataset, write_recording
from ekd_train.data.windows import Recording

RATE = "# rate_hz: 16\n"
EIGHT_S = "gsr\n" + "5.0\n" * 128


def read_one(folder: Path) -> Recording:
    dataset = RecordingsDataset(folder)
    (recording,) = dataset.read(dataset.subjects)
    return recording


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_written_recordings_are_read_exactly(folder: Path, small_sessions: list[Recording]) -> None:
    dataset = RecordingsDataset(folder)
    assert dataset.subjects == ("s000", "s001", "s002")
    assert dataset.targets == ("arousal", "valence")
    assert dataset.has_eeg
    assert dataset.notes == ()
    for recording, session in zip(dataset.read(dataset.subjects), small_sessions, strict=True):
        np.testing.assert_array_equal(recording.gsr, session.gsr)
        assert recording.eeg is not None
        assert session.eeg is not None
        np.testing.assert_array_equal(recording.eeg, session.eeg)
        assert recording.trials == session.trials
        assert (recording.rate_hz, recording.channels) == (session.rate_hz, session.channels)
    assert next(dataset.read(["s001"], eeg=False)).eeg is None


def test_recordings_without_eeg_are_read(tmp_path: Path, small_sessions: list[Recording]) -> None:
    write_recording(tmp_path / "x.csv", replace(small_sessions[0], eeg=None, channels=()))
    dataset = RecordingsDataset(tmp_path)
    assert not dataset.has_eeg
    assert next(dataset.read(["s000"])).eeg is None


def test_existing_recordings_are_not_overwritten(folder: Path, small_sessions: list[Recording]) -> None:
    before = (folder / "labels.csv").read_text()
    with pytest.raises(DataError, match="already exists"):
        write_recording(folder / "s000.csv", small_sessions[0])
    (folder / "s000.csv").unlink()
    with pytest.raises(DataError, match="already has the recording s000"):
        write_recording(folder / "s000.csv", small_sessions[0])
    trial = replace(small_sessions[0].trials[0], ratings={"calm": 3.0})
    with pytest.raises(DataError, match="the columns of"):
        write_recording(folder / "new.csv", replace(small_sessions[0], trials=(trial,)))
    with pytest.raises(DataError, match=r"NAME\.csv"):
        write_recording(folder / "new", small_sessions[0])
    assert (folder / "labels.csv").read_text() == before
    assert not (folder / "new.csv").exists()


@pytest.mark.parametrize(
    ("text", "rate", "value"),
    [
        (RATE + EIGHT_S, Fraction(16), 5.0),
        (RATE + "5.0\n" * 128, Fraction(16), 5.0),
        ("".join(f"{1000 + 50 * k},5\n" for k in range(200)), Fraction(20), 5.0),
        ("time_s,gsr\n" + "".join(f"{k / 64:.6f},5\n" for k in range(600)), Fraction(64), 5.0),
        (RATE + "gsr_kohm\n" + "200\n" * 128, Fraction(16), 5.0),
        (RATE + "GSR (kOhm)\n" + "200\n" * 128, Fraction(16), 5.0),
        (RATE + "# unit: adc\n# adc_bits: 12\ngsr\n" + "2048\n" * 128, Fraction(16), 12.5),
        ("\ufeff# rate_hz: 125/8\r\n\r\nGSR,note\r\n" + "5,1\r\n" * 128, Fraction(125, 8), 5.0),
    ],
)
def test_recording_formats_are_read(lines_folder: Callable[..., Path], text: str, rate: Fraction, value: float) -> None:
    recording = read_one(lines_folder(text))
    assert recording.rate_hz == rate
    np.testing.assert_allclose(recording.gsr, value)
    assert [trial.ratings for trial in recording.trials] == [{"arousal": 3.0}, {"arousal": 7.0}]


def test_labels_may_state_rate_and_unit(lines_folder: Callable[..., Path]) -> None:
    header = "recording, subject, trial, start_s, end_s, calm, arousal, rate_hz, unit, adc_bits"
    rows = "a.csv, p1, t1, 0, 4, , 3, 16, adc, 10\na.csv, p1, t2, 4, 8, 2.5, 7, 16, adc, 10\n\n"
    dataset = RecordingsDataset(lines_folder("gsr\n" + "512\n" * 128, rows, header))
    (recording,) = dataset.read(["p1"])
    assert dataset.targets == ("calm", "arousal")
    assert [trial.ratings for trial in recording.trials] == [{"arousal": 3.0}, {"calm": 2.5, "arousal": 7.0}]
    np.testing.assert_allclose(recording.gsr, 12.5)


def test_recordings_without_labels_are_reported(folder: Path) -> None:
    (folder / "extra.csv").write_text("gsr\n1\n")
    dataset = RecordingsDataset(folder)
    assert dataset.notes == ("1 of 4 recordings have no row in labels.csv (left out): extra",)


def test_partial_eeg_is_reported_and_left_out(folder: Path, small_sessions: list[Recording]) -> None:
    bare = replace(small_sessions[0], subject="new", eeg=None, channels=())
    write_recording(folder / "bare.csv", bare)
    dataset = RecordingsDataset(folder)
    assert not dataset.has_eeg
    assert dataset.notes == ("only 3 of 4 recordings have EEG (EEG left out)",)


def test_eeg_columns_are_matched_by_name(folder: Path, small_sessions: list[Recording]) -> None:
    path = folder / "s001.csv"
    with path.open() as file:
        comments = [next(file), next(file)]
        rows = [[row[0], row[2], row[1]] for row in csv.reader(file)]
    path.write_text("".join(comments) + "".join(",".join(row) + "\n" for row in rows))
    recording = next(RecordingsDataset(folder).read(["s001"]))
    assert recording.eeg is not None
    np.testing.assert_array_equal(recording.eeg, small_sessions[1].eeg)
    edit(path, "eeg_F3", "eeg_Cz")
    with pytest.raises(DataError, match=r"the EEG columns of .* differ"):
        RecordingsDataset(folder)


def test_identity_follows_labels_and_files(folder: Path) -> None:
    first = RecordingsDataset(folder).identity
    assert first == RecordingsDataset(folder).identity
    assert first.startswith("recordings:")
    (folder / "extra.csv").write_text("gsr\n1\n")
    assert RecordingsDataset(folder).identity != first


def test_missing_folder_and_files_are_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        RecordingsDataset(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="contains no recordings"):
        RecordingsDataset(tmp_path / "empty")
    (folder / "s002.csv").unlink()
    with pytest.raises(DataError, match=r"has the recording 's002', but there is no file s002\.csv"):
        RecordingsDataset(folder)
    (folder / "labels.csv").unlink()
    with pytest.raises(DataError, match=r"has no labels\.csv: add one with recording, subject"):
        RecordingsDataset(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "contains no samples"),
        ("# rate_hz: 16\n", "contains no samples"),
        (RATE + "gsr\n", "has a header but no samples: export it as CSV, or record it again"),
        (RATE + "gsr\n" + "5\n5\nfive\n" * 64, r"64 lines are not rows of the table, first line 5: 'five': correct"),
        (RATE + "gsr,eeg_F3\n5,1\n" + "5\n" * 3 + "5,1\n" * 20, r"3 lines are not rows of .*, first line 4: '5'"),
        (RATE + "gsr,eeg_F3\n5,1\n5,\n", "contains no samples"),
        ("# rate_hz: 0.25\n" + EIGHT_S, r"the stated rate is 0\.25 Hz: state one from 0\.5 to 4096 Hz"),
        ("# unit: kohm\n" + RATE + "gsr_us\n" + "5\n" * 128, "states the unit kohm, but the column gsr_us is in uS"),
        (RATE + "time,skin\n1,5\n", "none of the columns time, skin is skin conductance"),
        (EIGHT_S, r"a\.csv: the lines do not state the sampling rate: state the rate in Hz"),
        ("# rate_hz: fast\n" + EIGHT_S, "rate_hz: fast. is invalid: state the rate in Hz"),
        (RATE + "gsr\n" + "2048\n" * 128, "unit: nS' if it is a conductance, '# unit: kohm' if it is a resistance"),
        (RATE + "gsr\n" + "0.000005\n" * 128, "write '# unit: S' if it is a conductance$"),
        (RATE + "gsr_parsec\n" + "5\n" * 128, "unknown unit 'parsec'"),
        (RATE + "gsr_adc\n" + "512\n" * 128, "do not state the ADC's resolution: give the unit adc with its number"),
        ("# adc_bits: 10\n" + RATE + "gsr_adc\n" + "5000\n" * 128, "does not fit a 10-bit converter"),
        (RATE + "gsr\n" + "5\n" * 100, "trial t2 of a ends at 8 s, but .*a.csv lasts 6.25 s"),
        (
            "time_s,gsr\n" + "".join(f"{k % 100 / 16},5\n" for k in range(200)),
            "'time_s' runs back, or on by more than a day, after sample 100: split the recording there",
        ),
        ("time_s,gsr\n" + "1,5\n" * 200, "the time column 'time_s' does not grow"),
    ],
)
def test_faulty_recording_is_refused(lines_folder: Callable[..., Path], text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_one(lines_folder(text))


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        (RATE + "gsr\n5\n5\nnan\n" + "5\n" * 128, [2]),
        (RATE + "gsr\n5\n\nfive\n" + "5\n" * 128, [1, 2]),
        (RATE + "gsr,eeg_F3\n" + "5,1\n" * 64 + "5,\n5\n" + "5,1\n" * 64, [64, 65]),
        ("# unit: ohm\n" + RATE + "gsr\n" + "2e5\n" * 64 + "-2e3\ninf\n" + "2e5\n" * 64, [64, 65]),
        ("time_s,gsr\n" + "".join(f"{k / 16},5\n" for k in range(400) if not 60 <= k < 260), list(range(60, 260))),
    ],
)
def test_cells_without_a_reading_are_gaps(lines_folder: Callable[..., Path], text: str, lost: list[int]) -> None:
    recording = read_one(lines_folder(text))
    assert recording.lost is not None
    assert np.flatnonzero(recording.lost).tolist() == lost
    assert np.flatnonzero(np.isnan(recording.gsr)).tolist() == lost
    np.testing.assert_allclose(recording.gsr[~recording.lost], 5.0)


def test_rates_of_labels_comment_and_times_must_agree(lines_folder: Callable[..., Path]) -> None:
    header = "recording,subject,trial,start_s,end_s,arousal,rate_hz"
    times = "time_s,gsr\n" + "".join(f"{k / 16},5\n" for k in range(200))
    for text in ("# rate_hz: 17\n" + EIGHT_S, times):
        with pytest.raises(DataError, match=r"Hz is given: correct|the stated rate is 32 Hz but .* shows 16 Hz"):
            read_one(lines_folder(text, "a,p,t,0,4,2,32\n", header))
    assert read_one(lines_folder(times, "a,p,t,0,4,2,16.1\n", header)).rate_hz == Fraction(161, 10)


def test_binary_file_is_refused(lines_folder: Callable[..., Path]) -> None:
    folder = lines_folder(RATE + EIGHT_S)
    (folder / "a.csv").write_bytes(bytes(range(128, 256)) * 20)
    with pytest.raises(DataError):
        read_one(folder)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "has no rows"),
        ("a,p1,t1,0,4\n", "line 2 has 5 cells, but the header has 6"),
        ("a,p1,t1,0,4,11\n", "line 2: arousal is 11, but ratings go from 1 to 9"),
        ("a,p1,t1,0,4,0.5\n", "ratings go from 1 to 9"),
        ("a,p1,t1,0,4,high\n", "line 2: arousal is 'high'"),
        ("a,p1,t1,0,4,nan\n", "line 2: arousal is 'nan'"),
        ("a,p1,t1,4,4,3\n", "end_s must be after start_s"),
        ("a,p1,t1,-1,4,3\n", "end_s must be after start_s"),
        ("a,,t1,0,4,3\n", "the cell subject is empty"),
        ("a,p1,t1,0,4,3\na,p1,t1,4,8,3\n", "line 3: trial t1 of a is listed twice"),
        ("a,p1,t1,0,4,3\na,p2,t2,4,8,3\n", "line 3: a belongs to subject 'p1' in a line above"),
    ],
)
def test_faulty_labels_are_refused(lines_folder: Callable[..., Path], rows: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        RecordingsDataset(lines_folder(RATE + EIGHT_S, rows))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("recording,subject,trial,start_s,arousal", "lacks the column end_s"),
        ("recording,subject,trial,start_s,end_s", "has no target"),
        ("recording,subject,trial,start_s,end_s,", "has no target"),
        ("recording,subject,trial,start_s,end_s,a,a", "has a duplicate column"),
        ("", "lacks the column recording"),
    ],
)
def test_faulty_header_of_labels_is_refused(lines_folder: Callable[..., Path], header: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        RecordingsDataset(lines_folder(RATE + EIGHT_S, "a,p,t,0,1,2\n", header))


@pytest.mark.parametrize(
    ("cells", "message"), [("0,,", "rate_hz '0'"), ("x,,", "rate_hz 'x'"), ("16,adc,99", "adc_bits '99'")]
)
def test_faulty_rate_and_resolution_in_labels_are_refused(
    lines_folder: Callable[..., Path], cells: str, message: str
) -> None:
    header = "recording,subject,trial,start_s,end_s,arousal,rate_hz,unit,adc_bits"
    with pytest.raises(DataError, match=message):
        RecordingsDataset(lines_folder(RATE + EIGHT_S, f"a,p,t,0,1,2,{cells}\n", header))
    with pytest.raises(DataError, match="differ from a line above"):
        RecordingsDataset(lines_folder(EIGHT_S, "a,p,t,0,1,2,16,,\na,p,u,1,2,2,17,,\n", header))
