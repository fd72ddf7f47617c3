"""`ekd-recording dataset`: recordings and trials by wall-clock time become files of samples and labels.csv."""

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ekd_edge.cli.recording.main import main
from ekd_edge.errors import DataError
from ekd_edge.recording.format import Mark
from ekd_edge.recording.recorder import Recorder
from ekd_edge.recording.trials import trials_of_marks
from ekd_edge.signal.blocks import SampleBlock, TimeAnchor
from firmware_bridge.units import Unit
from tests.ekd_edge.recording.blocks import block_of

RATE = Fraction(128)
BEGIN_S = 1_800_000_000.0
BEGIN = "20270115T080000Z"


def block(first: int, samples: int, segment: int = 0, begin_s: float = BEGIN_S) -> SampleBlock:
    """Samples from index `first` whose readings are their own index; sample 0 is at `begin_s`."""
    found = block_of(np.arange(first, first + samples, dtype=np.float64), first, segment, RATE, Unit("adc", 16))
    return replace(found, anchor=TimeAnchor(0, begin_s))


def record(folder: Path, blocks: Sequence[SampleBlock], wearer: str | None = "anna", marks: Sequence[str] = ()) -> None:
    recorder = Recorder(folder, {"run": f"r{wearer}", "wearer": wearer}, print)
    for each in blocks:
        recorder.observe(each)
    for text in marks:
        recorder.mark(text)
    recorder.finish()


def dataset(tmp_path: Path, trials: str | None, *options: str) -> tuple[int, Path]:
    out = tmp_path / "out"
    arguments = ["dataset", str(tmp_path / "r"), str(out), *options]
    if trials is not None:
        (tmp_path / "trials.csv").write_text(trials)
        arguments += ["--trials", str(tmp_path / "trials.csv")]
    return main(arguments), out


def labels(out: Path) -> list[list[str]]:
    with (out / "labels.csv").open(newline="") as file:
        return list(csv.reader(file))


def samples(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    lines = path.read_text().splitlines()
    head = [line for line in lines if line.startswith("#")]
    assert lines[len(head)] == "time_s,gsr"
    return head, np.array([line.split(",") for line in lines[len(head) + 1 :]], dtype=np.float64)


def test_samples_rate_unit_and_trials_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "r", [block(0, 1280)])
    trials = "start,end,trial,arousal,age\n2027-01-15T08:00:01Z,2027-01-15T09:00:04.5+01:00,calm,3,25\n"
    status, out = dataset(tmp_path, trials)
    assert status == 0
    name = f"anna-{BEGIN}"
    assert labels(out) == [
        ["recording", "subject", "trial", "start_s", "end_s", "arousal", "age"],
        [name, "anna", "calm", "1.000000", "4.500000", "3", "25"],
    ]
    head, rows = samples(out / f"{name}.csv")
    assert head == ["# rate_hz: 128", "# start: 2027-01-15T08:00:00.000Z", "# unit: adc", "# adc_bits: 16"]
    np.testing.assert_allclose(rows[:, 0], np.arange(1280) / 128, atol=1e-6)
    np.testing.assert_array_equal(rows[:, 1], np.arange(1280))
    assert (out / f"{name}.csv").stat().st_mode & 0o777 == 0o600
    printed = capsys.readouterr()
    assert "128 Hz, 1,280 samples, 0 missing, 1 trials of anna" in printed.out
    assert printed.err == ""


def test_gaps_and_samples_with_electrodes_off_stay_gaps(tmp_path: Path) -> None:
    off = replace(block(512, 128), lead_off=True)
    record(tmp_path / "r", [block(0, 256), block(384, 128), off, block(640, 640)])
    status, out = dataset(tmp_path, f"start,end,arousal\n{BEGIN_S},{BEGIN_S + 10},3\n")
    assert status == 0
    _, rows = samples(out / f"anna-{BEGIN}.csv")
    kept = [*range(256), *range(384, 512), *range(640, 1280)]
    np.testing.assert_array_equal(rows[:, 1], kept)
    np.testing.assert_allclose(rows[:, 0], np.array(kept) / 128, atol=1e-6)
    assert labels(out)[1][3:5] == ["0.000000", "10.000000"]


def test_unit_that_a_file_cannot_state_becomes_microsiemens(tmp_path: Path) -> None:
    unit = Unit("adc", 13, 30.0)
    found = block_of(np.arange(256, dtype=np.float64), 0, 0, RATE, unit)
    record(tmp_path / "r", [replace(found, anchor=TimeAnchor(0, BEGIN_S))])
    _, out = dataset(tmp_path, f"start,end,arousal\n{BEGIN_S},{BEGIN_S + 2},3\n")
    head, rows = samples(out / f"anna-{BEGIN}.csv")
    assert head[2:] == ["# unit: uS"]
    np.testing.assert_array_equal(rows[:, 1], unit.to_microsiemens(np.arange(256.0)))


def test_trial_over_a_restart_is_in_both_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "r", [block(0, 1280), block(0, 1280, 1, BEGIN_S + 12)])
    status, out = dataset(tmp_path, f"start,end,arousal\n{BEGIN_S + 7},{BEGIN_S + 18},3\n")
    assert status == 0
    assert [row[2:5] for row in labels(out)[1:]] == [["t01", "7.000000", "10.000000"], ["t01", "0.000000", "6.000000"]]
    assert "no recording has more than 6.0 s of the 11.0 s of trial t01" in capsys.readouterr().err


def test_wall_clock_that_was_corrected_places_later_trials(tmp_path: Path) -> None:
    later = replace(block(640, 640), anchor=TimeAnchor(640, BEGIN_S + 5.5))
    record(tmp_path / "r", [block(0, 640), later])
    trials = f"start,end,arousal\n{BEGIN_S + 1},{BEGIN_S + 3},3\n{BEGIN_S + 6},{BEGIN_S + 8},7\n"
    _, out = dataset(tmp_path, trials)
    assert [row[3:5] for row in labels(out)[1:]] == [["1.000000", "3.000000"], ["5.500000", "7.500000"]]


def test_trials_of_two_sensors_go_to_their_wearers(tmp_path: Path) -> None:
    record(tmp_path / "r" / "a", [block(0, 1280)], "anna")
    record(tmp_path / "r" / "b", [block(0, 1280)], "ben")
    rows = f"{BEGIN_S};{BEGIN_S + 4};anna;2,5\n{BEGIN_S};{BEGIN_S + 5};ben;7\n{BEGIN_S + 6};{BEGIN_S + 9};;4\n"
    _, out = dataset(tmp_path, f"start;end;subject;arousal (1..7)\n{rows}")
    assert labels(out)[0][-1] == "arousal (1..7)"
    assert [(row[1], row[4], row[5]) for row in labels(out)[1:]] == [
        ("anna", "4.000000", "2.5"),
        ("anna", "9.000000", "4"),
        ("ben", "5.000000", "7"),
        ("ben", "9.000000", "4"),
    ]


def test_subject_is_that_of_the_trials_or_of_the_option(tmp_path: Path) -> None:
    record(tmp_path / "r", [block(0, 1280)], None)
    status, out = dataset(tmp_path, f"start,end,subject,arousal\n{BEGIN_S},{BEGIN_S + 4},Zoë B,3\n")
    assert (status, labels(out)[1][:2]) == (0, [f"Zoë-B-{BEGIN}", "Zoë B"])
    (tmp_path / "out").rename(tmp_path / "first")
    _, out = dataset(tmp_path, f"start,end,arousal\n{BEGIN_S},{BEGIN_S + 4},3\n", "--subject", "ben")
    assert labels(out)[1][1] == "ben"


def test_marks_state_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([BEGIN_S + 1, BEGIN_S + 2, BEGIN_S + 5])
    recorder = Recorder(tmp_path / "r", {"run": "a", "wearer": "anna"}, print)
    recorder.observe(block(0, 1280))
    with monkeypatch.context() as patched:
        patched.setattr("ekd_edge.recording.recorder.time.time", lambda: next(times))
        for text in ("trial calm begins", "the device has restarted", "trial calm ends arousal=3 valence=6.5"):
            recorder.mark(text)
    recorder.finish()
    status, out = dataset(tmp_path, None)
    assert status == 0
    assert labels(out)[0][5:] == ["arousal", "valence"]
    assert labels(out)[1][2:] == ["calm", "1.000000", "5.000000", "3", "6.5"]


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ("start,end,arousal\n2027-01-15T08:00:00,2027-01-15T08:01:00,3\n", "line 2: start is .* without a zone: add Z"),
        ("start,end,arousal\nnoon,1pm,3\n", "line 2: start is 'noon', not a time: write it as"),
        ("start,end,arousal\n1e300,2e300,3\n", "line 2: start is '1e300', not a time after 1970"),
        ("start,end,arousal\n-5,5,3\n", "line 2: start is '-5', not a time after 1970"),
        ("start,end,arousal\n9999-12-31T23:59:59-12:00,9999-12-31T23:59:59.5-12:00,3\n", "not a time after 1970"),
        (f"start,end,arousal\n{BEGIN_S + 5},{BEGIN_S + 4},3\n", "line 2: end must be after start"),
        (f"start,end,arousal\n{BEGIN_S},{BEGIN_S + 4},3\n0,10,3\n", "line 3 is from 1970-.* in no recording of its"),
        (f"start,end,subject,arousal\n{BEGIN_S},{BEGIN_S + 4},ben,3\n", "line 2 is from .* in no recording of its"),
        (
            f"start,end,trial,arousal\n{BEGIN_S},{BEGIN_S + 4},a,3\n{BEGIN_S + 5},{BEGIN_S + 9},a,3\n",
            "line 2: trial a is twice in one recording: give each a name of its own",
        ),
        ("start,arousal\n0,3\n", "lacks the column end"),
        ("start,end\n0,3\n", "has no ratings"),
        ("start,end,arousal\n", "has no rows"),
        ("start,end,start_s,arousal\n0,1,2,3\n", "has the column start_s, which is taken from the recordings"),
    ],
)
def test_trials_that_cannot_be_placed_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trials: str, message: str
) -> None:
    record(tmp_path / "r", [block(0, 1280)])
    status, out = dataset(tmp_path, trials)
    assert (status, out.exists()) == (2, False)
    error = capsys.readouterr().err
    assert error.startswith("ekd-recording dataset: ")
    assert error.count("\n") == 1
    assert re.search(message, error)


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ([], "no mark in .* states a trial: name the trials with --trials FILE"),
        (["trial t1 begins"], "the mark of trial t1 has no end"),
        (["trial t1 ends arousal=3"], "ends a trial that no mark begins"),
    ],
)
def test_marks_without_a_whole_trial_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], marks: list[str], message: str
) -> None:
    record(tmp_path / "r", [block(0, 1280)], marks=marks)
    status, out = dataset(tmp_path, None)
    assert (status, out.exists()) == (2, False)
    assert re.search(message, capsys.readouterr().err)


def test_unknown_wearer_and_existing_folder_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "r", [block(0, 1280)], None)
    trials = f"start,end,arousal\n{BEGIN_S},{BEGIN_S + 4},3\n"
    assert dataset(tmp_path, trials)[0] == 2
    assert "names no wearer: add the column subject to the trials, or --subject NAME" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").touch()
    assert dataset(tmp_path, trials, "--subject", "a")[0] == 2
    assert "exists and was not changed: name a new folder" in capsys.readouterr().err


def test_recordings_without_times_or_trials_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = [replace(block(0, 640), anchor=None), block(0, 1280, 1), block(0, 1280, 2, BEGIN_S + 60)]
    blocks.append(replace(block(0, 128, 3, BEGIN_S + 90), fault="the rate is wrong"))
    record(tmp_path / "r", blocks)
    status, out = dataset(tmp_path, f"start,end,arousal\n{BEGIN_S},{BEGIN_S + 4},3\n")
    assert (status, len(list(out.iterdir()))) == (0, 2)
    error = capsys.readouterr().err
    assert "1 of 4 parts of the recordings have no wall-clock time (left out)" in error
    assert "1 of 4 parts of the recordings have electrodes off or a fault throughout (left out)" in error
    assert "1 of 2 parts of the recordings have no trial (left out)" in error


def test_marks_of_a_clock_that_was_set_back_are_refused() -> None:
    marks = [Mark(BEGIN_S, "trial a begins"), Mark(BEGIN_S - 60, "trial a ends arousal=3")]
    with pytest.raises(DataError, match="the clock was set back in the trial a of the marks"):
        trials_of_marks(marks)
