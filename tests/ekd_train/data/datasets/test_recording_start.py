"""Trials by date and time, in recordings whose files state when they began."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ekd_edge.errors import DataError
from ekd_train.data.datasets.recording_start import start_of
from ekd_train.data.datasets.recordings import RecordingsDataset

NAIVE = datetime(2024, 1, 1, 10, 0, 0)
BEGIN = NAIVE.replace(tzinfo=UTC)
EPOCH_S = BEGIN.timestamp()


def iso_rows(zone: str = "", header: str = "time,eda", separator: str = ",") -> str:
    rows = (
        f"2024-01-01T10:{k // 960:02d}:{k // 16 % 60:02d}.{k % 16 * 62500:06d}{zone}{separator}5.0" for k in range(1600)
    )
    return "\n".join([header.replace(",", separator), *rows])


def epoch_rows(name: str, factor: int) -> str:
    return "\n".join([f"{name},gsr", *(f"{round((EPOCH_S + k / 16) * factor)},5.0" for k in range(1600))])


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        (iso_rows(), NAIVE),
        (iso_rows("Z"), BEGIN),
        (iso_rows(separator=";"), NAIVE),
        (iso_rows("+01:00"), BEGIN.replace(hour=9)),
        (epoch_rows("time_ms", 1000), BEGIN),
        (epoch_rows("timestamp", 1000), BEGIN),
        (epoch_rows("time_us", 10**6), BEGIN),
        ("# rate_hz: 16\n# start: 2024-01-01T10:00:00Z\ngsr\n" + "5.0\n" * 1600, BEGIN),
        ("# rate_hz: 16\ngsr\n" + "5.0\n" * 1600, None),
        ("time_s,gsr\n" + "".join(f"{k / 16},5.0\n" for k in range(1600)), None),
    ],
)
def test_start_is_read_from_the_time_column_or_a_comment(tmp_path: Path, text: str, begin: datetime | None) -> None:
    (tmp_path / "a.csv").write_text(text)
    found = start_of(tmp_path / "a.csv")
    assert found == begin
    assert begin is None or (found is not None and (found.tzinfo is None) == (begin.tzinfo is None))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_start_of_a_long_file_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_text(iso_rows() * 10, encoding=encoding)
    assert start_of(tmp_path / "a.csv") == NAIVE


def folder(tmp_path: Path, recording: str, start: str, end: str) -> Path:
    (tmp_path / "a.csv").write_text(recording)
    (tmp_path / "labels.csv").write_text(f"recording,subject,trial,start,end,arousal\na,p,t,{start},{end},3\n")
    return tmp_path


@pytest.mark.parametrize(
    ("recording", "start", "end"),
    [
        (iso_rows(), "2024-01-01T10:00:12.5", "2024-01-01 10:01:20"),
        (iso_rows("Z"), "2024-01-01T10:00:12.500Z", "2024-01-01T11:01:20+01:00"),
        (epoch_rows("time_ms", 1000), "2024-01-01T10:00:12.5Z", "2024-01-01T10:01:20Z"),
    ],
)
def test_trials_by_date_are_placed_by_the_start_of_their_recording(
    tmp_path: Path, recording: str, start: str, end: str
) -> None:
    (found,) = RecordingsDataset(folder(tmp_path, recording, start, end)).read(["p"])
    assert [(trial.start_s, trial.end_s) for trial in found.trials] == [(12.5, 80.0)]


@pytest.mark.parametrize(
    ("recording", "start", "end", "message"),
    [
        (
            iso_rows("Z"),
            "2024-01-01T10:00:12",
            "2024-01-01T10:00:20",
            "write both with a zone, such as Z, or both with",
        ),
        (
            iso_rows(),
            "2024-01-01T10:00:12Z",
            "2024-01-01T10:00:20Z",
            r"line 2: start_s is .* begins at 2024-01-01T10:00",
        ),
        (
            iso_rows(),
            "2024-01-01T09:00:00",
            "2024-01-01T10:00:20",
            "end_s must be after start_s, and start_s at or after",
        ),
        (iso_rows(), "2024-01-01T10:00:00", "2024-01-01T10:05:00", r"labels\.csv line 2: trial t of a ends at 300 s"),
    ],
)
def test_dates_that_do_not_fit_the_recording_are_refused(
    tmp_path: Path, recording: str, start: str, end: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        list(RecordingsDataset(folder(tmp_path, recording, start, end)).read(["p"]))
