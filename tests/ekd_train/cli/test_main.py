"""`ekd-train` from end to end, with a small network and dataset."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from ekd_edge.atomic_files import lock_folder
from ekd_export.cli.main import main as export
from ekd_train.cli.main import main
from ekd_train.data.splits import LEAKY_WARNING
from ekd_train.run import Run, newest_run
from tests.helpers.exit_status import exit_status

TINY = """
data = "synthetic?subjects=6&trials=6&trial_s=30"
[signal]
rate_hz = "128"
window_s = 2.0
hop_s = 2.0
cutoff_hz = 5.0
[network]
filters = 8
heads = 2
key_size = 4
ffn = 8
[teacher]
epochs = 2
batch_size = 16
learning_rate = 1e-3
[student]
epochs = 3
batch_size = 16
learning_rate = 1e-3
[feedback]
every = 2
"""

SHORT = ("--set", "teacher.epochs=1", "--set", "student.epochs=1")


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


def _train(*arguments: object) -> int:
    return main([str(argument) for argument in (*arguments, "--device", "cpu", "--threads", 1)])


def _weights_equal(one: Path, other: Path) -> bool:
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_train_command_trains_teacher_and_student(
    preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _train("--preset", preset, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    run = Run.load(newest_run())
    assert Path(result["run"]) == run.path
    assert 0 <= result["student"]["test"]["accuracy"] <= 1
    assert run.synthetic
    assert run.student().config == run.network
    states = result["student"]["test"]["states"]
    assert states["carried"]["accuracy"] == result["student"]["test"]["accuracy"]
    assert 0 <= states["restarted"]["accuracy"] <= 1
    assert "states" not in result["teacher"]["test"]
    quality = result["signal_quality"]
    assert quality["keep_bad_windows"] is False
    assert {side: counts["left_out"] for side, counts in quality["sides"].items()} == {
        "training": 0,
        "validation": 0,
        "test": 0,
    }
    assert set(run.split.train).isdisjoint(run.split.test)
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in lines] == [
        *(("teacher", epoch) for epoch in range(2)),
        *(("student", epoch) for epoch in range(3)),
    ]
    assert not list(run.path.glob("checkpoint-*"))


def test_teacher_and_distill_commands_give_the_same_student(
    preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train("--preset", preset, "--out", tmp_path / "both") == 0
    assert _train("teacher", "--preset", preset, "--out", tmp_path / "steps") == 0
    assert _train("distill", tmp_path / "steps", "--set", "high=at-or-above") == 2
    assert "high cannot be changed after" in capsys.readouterr().err
    assert _train("distill", tmp_path / "steps") == 0
    assert _weights_equal(tmp_path / "both/student.safetensors", tmp_path / "steps/student.safetensors")


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_killed_run_resumes_to_the_same_weights(preset: Path, tmp_path: Path, stage: str) -> None:
    assert _train("--preset", preset, "--out", tmp_path / "whole") == 0
    killed = tmp_path / "killed"
    command: Sequence[str] = [
        sys.executable, "-m", "ekd_train.cli.main", "--preset", str(preset), "--out", str(killed),
        "--device", "cpu", "--threads", "1",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        checkpoint = killed / f"checkpoint-{stage}.safetensors"
        deadline = time.monotonic() + 300
        while not checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    assert checkpoint.exists()
    assert not (killed / "student.safetensors").exists()
    assert _train("--resume", killed) == 0
    for name in ("teacher.safetensors", "student.safetensors"):
        assert _weights_equal(tmp_path / "whole" / name, killed / name)


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_weights_without_their_result_are_completed(
    stage: str, preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run killed between weights and result completes its result and resumes."""

    def interrupt(self: Run, **results: object) -> Run:
        if stage in results:
            raise KeyboardInterrupt
        return with_results(self, **results)

    run, with_results = tmp_path / "run", Run.with_results
    with monkeypatch.context() as patch:
        patch.setattr(Run, "with_results", interrupt)
        assert _train("--preset", preset, "--out", run, *SHORT) == 130
    assert (run / f"{stage}.safetensors").is_file()
    assert _train("--resume", run) == 0
    assert Run.load(run).results.keys() == {"signal_quality", "teacher", "student"}
    assert not list(run.glob("checkpoint-*"))


def test_resume_refuses_other_settings_of_the_run(
    preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert _train("teacher", "--preset", preset, "--out", run, "--set", "teacher.epochs=1") == 0
    (run / "checkpoint-student.safetensors").touch()  # under way, with the settings in run.json
    before = (run / "run.json").read_bytes()
    for arguments, message in [
        (("--split", "trial-leaky"), "leave --split out"),
        (("--data", "synthetic:hard"), "leave --data out"),
        (("--preset", "paper"), "leave --preset out"),
        (("--target", "valence"), "leave --target out"),
        (("--out", tmp_path / "other"), "leave --output out"),
        (("--set", "split.kind=trial-leaky"), "split cannot be changed after"),
        (("--set", "teacher.epochs=9"), "teacher cannot be changed because"),
        (("--set", "feedback.every=0"), "the student of"),
    ]:
        capsys.readouterr()
        assert _train("--resume", run, *arguments) == 2
        assert message in capsys.readouterr().err
    assert (run / "run.json").read_bytes() == before
    (run / "checkpoint-student.safetensors").unlink()
    assert _train("distill", run, "--set", "feedback.every=0", "--set", "student.epochs=1") == 0
    assert Run.load(run).config.feedback.every == 0


def test_run_folder_is_used_by_one_process_at_a_time(
    preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert _train("teacher", "--preset", preset, "--out", run, *SHORT) == 0
    with lock_folder(run, "ekd-train"):
        assert _train("--resume", run) == 2
    assert f"another ekd-train is running in {run}: wait until it ends" in capsys.readouterr().err
    assert _train("--resume", run) == 0


def test_targets_share_one_backbone(preset: Path, tmp_path: Path) -> None:
    targets = ("--target", "arousal", "--target", "valence")
    assert _train("--preset", preset, "--out", tmp_path / "run", *targets, *SHORT) == 0
    run = Run.load(tmp_path / "run")
    assert run.network.targets == ("arousal", "valence")


def test_gsr_recordings_train_a_student_without_teacher(
    preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    labels = ["recording,subject,trial,start_s,end_s,arousal"]
    for number in range(4):
        values = 5 + np.cumsum(rng.normal(0, 0.01, 60 * 32)).clip(-2, 2)
        values[40 * 32 : 42 * 32] = 0.0  # the electrodes are off
        lines = "\n".join(f"{value:.5f}" for value in values)
        (folder / f"r{number}.csv").write_text(f"# rate_hz: 32\ngsr_us\n{lines}\n", encoding="utf-8")
        labels += [f"r{number},p{number},calm,2,30,2", f"r{number},p{number},tense,30,59,8"]
    (folder / "labels.csv").write_text("\n".join(labels) + "\n", encoding="utf-8")
    data = ("--preset", preset, "--data", f"recordings:{folder}")
    assert _train(*data, "--out", tmp_path / "run") == 0
    out, err = capsys.readouterr()
    assert "without a teacher" in err
    lines = out.splitlines()
    assert "left out for signal quality: 8 of 112 windows (7.1%)" in err.splitlines()
    assert any(line.startswith("left out for signal quality: 8 of 112 windows (7.1%): training ") for line in lines)
    assert any(line.startswith("  running mean carried from trial to trial: accuracy ") for line in lines)
    assert any(line.startswith("  running mean restarted at each trial: accuracy ") for line in lines)
    assert _train(*data, "--out", tmp_path / "all", "--keep-bad-windows", *SHORT) == 0
    assert "no window was left out for signal quality (signal.keep_bad_windows)" in capsys.readouterr().out
    assert Run.load(tmp_path / "all").config.signal.keep_bad_windows
    run = Run.load(tmp_path / "run")
    assert not run.has_eeg
    assert not run.synthetic
    run.student()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "papr"], "no preset"),
        (["--data", "deep:DIR"], "unknown data"),
        (["--data", "recordings:nowhere"], "nowhere"),
        (["--resume", "nowhere"], "not a run folder"),
        (["distill"], "no trained teacher"),
        (["--set", "nonsense=1"], "no setting"),
        (["--device", "cuda:99"], "cannot be used"),
        (["--threads", "0"], "above zero"),
        (["--target", "boredom"], "boredom"),
    ],
)
def test_bad_input_ends_in_one_sentence(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_status(main, arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_reading_shows_progress_and_notes_once(
    preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EKD_CACHE", str(tmp_path / "cache"))
    kept = f"are stored in {tmp_path / 'cache' / 'windows'}"
    assert _train("teacher", "--preset", preset, "--out", tmp_path / "run", *SHORT) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading subjects 1/6"
    assert sum(kept in line for line in lines) == 1
    assert _train("distill", tmp_path / "run") == 0
    error = capsys.readouterr().err
    assert "reading" not in error, "the cache has them"
    assert kept not in error


def test_leaky_run_prints_its_warning_first(preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert _train("teacher", "--preset", preset, "--split", "trial-leaky:3", "--out", run, *SHORT) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == err.splitlines()[0] == LEAKY_WARNING
    assert _train("distill", run, "--json") == 0
    out, err = capsys.readouterr()
    assert next(iter(json.loads(out).items())) == ("warning", LEAKY_WARNING)
    assert err.splitlines()[0] == LEAKY_WARNING
    assert export([str(run), "--int8"]) == 2
    out, err = capsys.readouterr()
    (refusal,) = [line for line in err.splitlines() if line.startswith("ekd-export: ")]
    assert refusal == err.splitlines()[-1]
    assert "trained with the trial-leaky split" in refusal
    assert "train again with a split by subject" in refusal
    assert out == ""
    assert not list(run.glob("*.tflite"))


def test_existing_run_is_never_overwritten(preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _train("teacher", "--preset", preset, "--set", "teacher.epochs=1", "--out", tmp_path / "run") == 0
    assert _train("--preset", preset, "--out", tmp_path / "run") == 2
    assert "--resume" in capsys.readouterr().err
