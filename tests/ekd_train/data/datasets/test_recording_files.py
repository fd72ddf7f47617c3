"""Files of recordings are found by the names that labels.csv has."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.errors import ConfigError, DataError
from ekd_train.cli.main import main
from ekd_train.cli.options import add_setup_arguments, config_of
from ekd_train.config import TrainConfig
from ekd_train.data.datasets.rating_scale import with_scale
from ekd_train.data.datasets.recording_files import find_recordings, recording_name
from ekd_train.data.datasets.recordings import RecordingsDataset
from ekd_train.data.source import open_dataset
from ekd_train.feasibility import check_targets
from firmware_bridge.cli.program import Parser

LINES = "# rate_hz: 16\ngsr_us\n" + "5.0\n" * 160


def make(folder: Path, file: str, name: str, labels: str = "labels.csv", rating: str = "3") -> Path:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(LINES)
    (folder / labels).write_text(f"recording,subject,trial,start_s,end_s,age,arousal\n{name},a,t1,0,9,25,{rating}\n")
    return folder


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("DATA01.CSV", "DATA01.CSV"),
        ("DATA01.CSV", "DATA01"),
        ("DATA01.Csv", "DATA01.csv"),
        (unicodedata.normalize("NFD", "zoë.csv"), unicodedata.normalize("NFC", "zoë")),
        (unicodedata.normalize("NFC", "zoë.CSV"), unicodedata.normalize("NFD", "zoë")),
        ("P01/EDA.csv", "P01/EDA.csv"),
        (unicodedata.normalize("NFD", "Zoë/EDA.CSV"), "Zoë/EDA"),
    ],
)
@pytest.mark.parametrize("labels", ["labels.csv", "LABELS.CSV"])
def test_recording_is_found_in_any_case_of_the_suffix_and_unicode_form(
    tmp_path: Path, file: str, name: str, labels: str
) -> None:
    dataset = RecordingsDataset(make(tmp_path, file, name, labels))
    (recording,) = dataset.read(["a"])
    assert recording.name == recording_name(name)
    np.testing.assert_array_equal(recording.gsr, np.full(160, 5.0))
    assert dataset.fingerprint()


def test_recordings_of_subfolders_are_written_next_to_each_other(tmp_path: Path) -> None:
    folder = make(tmp_path / "in", "P01/EDA.csv", "P01/EDA")
    data = ["data", "--data", f"recordings:{folder}", "--subject", "a"]
    assert main([*data, "--output", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["P01-EDA.csv", "labels.csv"]
    assert RecordingsDataset(tmp_path / "out").subjects == ("a",)


@pytest.mark.parametrize("name", ["a/b/c/d", "a.csv/b", ".", "..", "x" * 300])
def test_recording_without_a_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="but there is no file"):
        RecordingsDataset(make(tmp_path, "a.csv", name))


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "a.csv", "a")
    (tmp_path / "a.CSV").write_text(LINES)
    with pytest.raises(DataError, match=r"a\.CSV and a\.csv are both the recording 'a': rename one"):
        RecordingsDataset(tmp_path)


def test_missing_file_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file anna1\.csv: .*did you mean anna_1\?"):
        RecordingsDataset(make(tmp_path, "anna_1.csv", "anna1"))


@pytest.mark.parametrize("name", ["../a", "/tmp/a", "x/../../a"])
def test_recordings_outside_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="move them there"):
        RecordingsDataset(make(tmp_path / "in", "a.csv", name))


def test_files_that_a_system_made_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, "a.csv", "a")
    for name in ("._a.csv", "~$a.csv", ".hidden.csv"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    assert list(find_recordings(tmp_path)) == ["a"]


def test_home_folder_is_expanded_in_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "mine", "a.csv", "a")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_dataset("recordings:~/mine").subjects == ("a",)
    assert open_dataset("recordings:~/mine?scale=1..5").subjects == ("a",)
    for kind in ("deap", "hci"):
        with pytest.raises((DataError, ConfigError), match=str(tmp_path)):
            open_dataset(f"{kind}:~/mine")


def test_folder_with_a_question_mark_is_found(tmp_path: Path) -> None:
    make(tmp_path / "why?", "a.csv", "a")
    assert open_dataset(f"recordings:{tmp_path / 'why?'}").subjects == ("a",)


def test_trial_beyond_its_file_is_refused_with_the_line(tmp_path: Path) -> None:
    make(tmp_path, "a.csv", "a")
    with (tmp_path / "labels.csv").open("a") as out:
        out.write("\na,a,t2,9,11,25,7\n")
    with pytest.raises(DataError, match=r"labels\.csv line 4: trial t2 of a ends at 11 s, but .*a\.csv lasts 10 s"):
        list(RecordingsDataset(tmp_path).read(["a"]))


def test_ignored_column_is_refused_as_a_target_with_the_line(tmp_path: Path) -> None:
    source = open_dataset(f"recordings:{make(tmp_path, 'a.csv', 'a')}")
    assert source.targets == ("arousal",)
    with pytest.raises(DataError, match="line 2: age is 25, but ratings go from 1 to 9"):
        check_targets(TrainConfig(targets=("age",)), source)
    check_targets(TrainConfig(targets=("arousal",)), source)


@pytest.mark.parametrize(
    ("data", "scale", "message"),
    [
        ("synthetic", "1..5", "--scale holds for recordings:FOLDER"),
        ("recordings:x?scale=1..7", "1..5", "states a scale already: leave --scale out"),
        ("recordings:x", "five", "'five' is not a scale of ratings"),
        ("recordings:x?scal=1", "1..5", "unknown option 'scal', .*did you mean scale"),
    ],
)
def test_scale_that_cannot_hold_is_refused(data: str, scale: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        with_scale(data, scale)


def test_scale_is_part_of_the_data_of_a_run(tmp_path: Path) -> None:
    folder = make(tmp_path / "in", "a.csv", "a")
    parser = Parser()
    add_setup_arguments(parser)
    options = parser.parse_args(["--data", f"recordings:{folder}", "--scale", "1..5"])
    assert config_of(options).data == f"recordings:{folder}?scale=1..5"
    with pytest.raises(DataError, match="--scale holds for recordings:FOLDER"):
        config_of(parser.parse_args(["--scale", "1..5"]))


def test_scale_of_a_run_is_that_of_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(tmp_path / "in", "a.csv", "a", rating="4")
    out = tmp_path / "out" / "a.csv"
    data = ["data", "--data", f"recordings:{folder}", "--scale", "1..5"]
    assert main([*data, "--subject", "a", "--output", str(out)]) == 0
    assert "ratings of arousal are mapped from 1..5 to 1..9" in capsys.readouterr().err
    (recording,) = RecordingsDataset(out.parent).read(["a"])
    assert [trial.ratings for trial in recording.trials] == [{"arousal": 7.0}]
