"""`ekd-recording`: what it prints and writes, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.cli.recording.main import main
from ekd_edge.recording.format import Mark
from ekd_edge.recording.recorder import Recorder
from tests.ekd_edge.recording.blocks import block_of, encoded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one recording of three stretches."""
    recorder = Recorder(tmp_path / "r", {"run": "a", "port": "/dev/x", "model": "m"}, print)
    for segment, first, n in ((0, 0, 1280), (0, 1280, 640), (0, 3000, 256), (1, 0, 512)):
        values = 2000 + np.arange(first, first + n) % 500
        recorder.observe(block_of(values.astype(np.float64), first, segment))
    recorder.mark("the device has restarted")
    recorder.finish()
    return tmp_path / "r"


def test_info_and_export_show_every_stretch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["info", "r", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(s["segment"], s["first_index"], s["seconds"], s["utc"]) for s in found["stretches"]] == [
        (0, 0, 15.0, None),
        (0, 3000, 2.0, None),
        (1, 0, 4.0, None),
    ]
    assert (found["samples"], found["predictions"], found["damaged_frames"]) == (2688, 0, 0)
    assert found["marks"][0]["text"] == "the device has restarted"
    assert main(["info", "r"]) == 0
    assert "segment 0 from sample 3000: 2.0 s at 128 Hz" in capsys.readouterr().out
    assert main(["export", "r", "--csv", "all.csv", "--edf", "a.edf", "--predictions", "p.jsonl"]) == 0
    assert capsys.readouterr().out.splitlines() == ["p.jsonl", "all.csv", "a.edf", "a-2.edf", "a-3.edf"]
    rows = Path("all.csv").read_text().splitlines()
    assert rows[0] == "segment,index,time_s,gsr_us"
    assert rows[1] == f"0,0,0.000000,{2000 / 8192 * 30!r}"
    assert len(rows) == 2689
    assert {oct(Path(name).stat().st_mode & 0o777) for name in ("all.csv", "a.edf", "p.jsonl")} == {"0o600"}


def test_info_of_a_recording_without_a_head_states_what_is_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.ekdrec").write_bytes(encoded([block_of(np.arange(256.0))]))
    assert main(["info", str(tmp_path / "a.ekdrec")]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "from unknown at unknown, model unknown",
        "256 samples, 0 predictions, 0 damaged frames",
    ]


def test_export_goes_to_a_pipe_and_through_a_link(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ekd_edge.cli.recording.main", "export", str(folder), "--csv"]
    piped = subprocess.run([*command, "/dev/stdout"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert (piped[0], len(piped)) == ("segment,index,time_s,gsr_us", 2690)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    subprocess.run([*command, str(tmp_path / "link")], capture_output=True, check=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text().splitlines() == piped[:-1]


def test_export_states_the_padding(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.ekdrec"
    path.write_bytes(encoded([block_of(np.arange(200.0))]))
    out = tmp_path / "a.edf"
    assert main(["export", str(path), "--edf", str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(out),
        f"{out} ends in padding: 56 samples repeat the last one, because EDF has whole records (here of 128 samples)",
    ]


def test_names_and_marks_are_printed_without_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(tmp_path, {"run": "a", "port": "\x1b[2J", "model": "m\n"}, print)
    recorder.mark("\x1b]0;title\x07")
    recorder.finish()
    assert main(["info", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].endswith("at \\x1b[2J, model m\\n")
    assert out.splitlines()[2] == "  \\x1b]0;title\\x07"
    assert main(["info", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["port"] == "\x1b[2J"


@pytest.mark.parametrize("option", ["--csv", "--edf", "--predictions"])
def test_recording_is_never_overwritten(
    option: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = folder.iterdir()
    before = file.read_bytes()
    link, hard = tmp_path / "link", tmp_path / "hard"
    link.symlink_to(file)
    os.link(file, hard)
    renamed = tmp_path / "renamed"
    shutil.copy(file, renamed)
    for source in (folder, file, link):
        for target in (file, link, hard):
            assert main(["export", str(source), option, str(target)]) == 2
            assert "is a recording, which is never overwritten" in capsys.readouterr().err
    assert main(["export", str(renamed), option, str(renamed)]) == 2
    assert main(["export", str(renamed), option, str(tmp_path / "new.ekdrec")]) == 2
    assert (file.read_bytes(), renamed.read_bytes()) == (before, before)
    os.link(renamed, tmp_path / "a-2.edf")
    assert main(["export", str(renamed), "--edf", str(tmp_path / "a.edf")]) == 2, "the second file of the EDF"
    assert renamed.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["info", "nowhere"], "does not exist"),
        (["info", "."], "holds no recording"),
        (["info", "x" * 300], "File name too long"),
        (["export", "x.csv", "--csv", "y"], "is not a recording"),
        (["export", "x.csv"], "name a file to write"),
        (["export", "nowhere", "--csv", "no/a.csv"], "the folder does not exist"),
        (["export", "nowhere", "--csv", "."], "is a folder"),
        (["export", "nowhere", "--csv", "a", "--edf", "./a"], "named twice"),
        (["export", "a.ekdrec", "--csv", "y" * 300], "File name too long"),
    ],
)
def test_faults_end_in_one_sentence(
    arguments: list[str],
    advice: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[-1] != ".":
        (tmp_path / "x.csv").write_text("1\n2\n")
        (tmp_path / "a.ekdrec").write_bytes(encoded([block_of(np.arange(20.0)), Mark(1.0, "a")]))
    if arguments == ["info", "."]:
        assert list(tmp_path.iterdir()) == []
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert advice in err
    assert err.count("\n") == 1
