"""All console scripts in odd environments: one sentence and status 2, or the usual result; never a traceback."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ekd_train.cli.main import main as train
from firmware_bridge.errors import ConfigError
from firmware_bridge.home import expand_user, home_folder
from tests.helpers.commands import script
from tests.helpers.exit_status import exit_status
from tests.helpers.packages import hide_packages

LONG = "x" * 300
EDGE = ["ekd-edge", "--seconds", "1"]
LONG_NAMES = [
    [*EDGE, "--model", "demo", "--port", LONG],
    [*EDGE, "--model", "demo", "--replay", LONG],
    [*EDGE, "--model", LONG, "--port", "sim://"],
    [*EDGE, "--model", "demo", "--port", "sim://", "--record", LONG],
    [*EDGE, "--model", "demo", "--port", "sim://", "--trust", LONG],
    ["ekd-edge", LONG],
    ["ekd-edge", "calibrate", "--model", "demo", "--port", "sim://", "--wearer", LONG],
    ["ekd-edge", "bench", LONG],
    ["ekd-edge", "bundle", "--os", "12", "--model", LONG],
    ["ekd-edge", "doctor", "--model", "demo", "--record", LONG],
    ["ekd-recording", "info", LONG],
    ["ekd-recording", "export", LONG, "--csv", "a.csv"],
    ["ekd-firmware", "monitor", LONG],
    ["ekd-firmware", "flash", LONG],
    ["ekd-firmware", "simulate", "--link", LONG],
    ["ekd-firmware", "simulate", "--waveform", LONG],
    ["ekd-firmware", "build", "--folder", LONG],
    ["ekd-train", "--preset", LONG],
    ["ekd-train", "report", LONG],
    ["ekd-export", LONG],
    ["ekd-export", "sign", LONG, "--key", LONG],
    ["ekd-eval", LONG],
]
SCRIPTS = ["ekd-edge", "ekd-recording", "ekd-firmware", "ekd-train", "ekd-export", "ekd-eval"]


def ended(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [script(command[0]), *command[1:]], capture_output=True, text=True, timeout=300, **options
    )


def is_one_sentence(done: subprocess.CompletedProcess[str], command: list[str]) -> None:
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1].startswith(command[0]), done.stderr


@pytest.mark.parametrize("command", LONG_NAMES, ids=lambda command: " ".join(command).replace(LONG, "LONG"))
def test_long_name_is_one_sentence(command: list[str], tmp_path: Path) -> None:
    is_one_sentence(ended(command, cwd=tmp_path), command)


@pytest.mark.parametrize("name", ["EKD_MODEL", "EKD_TRUST"])
def test_long_name_in_the_environment_is_one_sentence(name: str, tmp_path: Path) -> None:
    done = ended([*EDGE, "--port", "sim://"], cwd=tmp_path, env={**os.environ, name: LONG})
    is_one_sentence(done, ["ekd-edge"])


@pytest.mark.parametrize("name", SCRIPTS)
def test_deleted_current_folder_is_no_traceback(name: str, tmp_path: Path) -> None:
    for arguments in ("--version", "--help", "not-here", "not-here --output x"):
        gone = tmp_path / "gone"
        gone.mkdir()
        command = f"cd {gone} && rmdir {gone} && exec {script(name)} {arguments}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300)
        assert done.returncode == (0 if arguments.startswith("--") else 2), done
        assert "Traceback" not in done.stderr, done.stderr


def test_forbidden_folder_is_one_sentence(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0)
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    for command in (
        [*EDGE, "--model", "demo", "--replay", f"{locked}/a"],
        [*EDGE, "--model", f"{locked}/a", "--port", "sim://"],
        [*EDGE, "--model", "demo", "--port", f"{locked}/a"],
        ["ekd-recording", "info", f"{locked}/a"],
        ["ekd-recording", "info", f"{locked}"],
        ["ekd-firmware", "simulate", "--link", f"{locked}/a"],
        ["ekd-export", f"{locked}/a"],
    ):
        done = subprocess.run([*without, script(command[0]), *command[1:]], capture_output=True, text=True, timeout=300)
        is_one_sentence(done, command)
        assert "no recordings" not in done.stderr, done.stderr
    calibrate = [script("ekd-edge"), "calibrate", "--model", "demo", "--port", "sim://", "--wearer", "anna"]
    kept = {**os.environ, "EKD_BASELINES": str(locked)}
    done = subprocess.run([*without, *calibrate], capture_output=True, text=True, timeout=300, env=kept)
    assert done.stderr == (
        f"ekd-edge calibrate: cannot read {locked}/anna.json: Permission denied; check its permissions, or set "
        "EKD_BASELINES\n"
    )
    locked.chmod(0o700)


def test_missing_home_folder_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(*_: object) -> str:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(ConfigError, match="no home folder: set HOME"):
        home_folder()
    with pytest.raises(ConfigError, match="write the whole path"):
        expand_user(Path("~no-such-user-of-this-machine/x"))


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="changes its user")
@pytest.mark.parametrize("name", SCRIPTS)
def test_user_without_a_home_folder_gets_help(name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HOME", "XDG"))}
    done = subprocess.run(
        ["setpriv", "--reuid=54321", "--clear-groups", "--bounding-set=+all", script(name), "--help"],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    assert "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("threads", ["0", "1025", "1000000", "9" * 5000])
@pytest.mark.parametrize("command", [["ekd-edge", "--port", "sim://"], ["ekd-train"], ["ekd-eval", "x"]])
def test_number_of_threads_is_bounded(threads: str, command: list[str]) -> None:
    done = ended([*command, "--threads", threads])
    assert done.returncode == 2
    assert "argument --threads: " in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("module", ["ekd_edge", "ekd_train", "ekd_export", "firmware_bridge"])
def test_package_runs_as_its_command_and_can_be_imported(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout[:4], done.stderr) == (0, "ekd ", "")
    code = f"import {module}.__main__"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (imported.returncode, imported.stdout, imported.stderr) == (0, "", "")
    without = subprocess.run([sys.executable, "-m", module, "-x"], capture_output=True, text=True, timeout=300)
    assert without.returncode == 2
    assert without.stderr.count("\n") == 1


def test_mistyped_preset_is_reported_before_a_missing_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hide_packages(monkeypatch, "torch")
    for command in ([], ["teacher"]):
        assert exit_status(train, [*command, "--preset", "smok"]) == 2
        assert "did you mean smoke?" in capsys.readouterr().err
        assert exit_status(train, [*command, "--preset", "smoke"]) == 2
        assert "training needs torch, which is not installed: run `pip install" in capsys.readouterr().err


def test_onnx_without_its_packages_is_found_before_any_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ekd_export.cli.main import main as export

    hide_packages(monkeypatch, "onnx")
    assert exit_status(export, ["no-such-run", "--onnx"]) == 2
    assert "--onnx needs onnx, which is not installed" in capsys.readouterr().err


FIELDS = {"mean": 1.0, "variance": 0.1, "seconds": 60.0, "level_us": 4.0, "taken": "2026-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    "change",
    [
        *({"mean": value} for value in (float("nan"), float("inf"), 1e300, "x", None, True, [], 10**400)),
        *({"variance": value} for value in (-1.0, float("nan"), 1e300)),
        *({"seconds": value} for value in (-1.0, float("inf"), 1e300)),
        {"level_us": float("nan")},
        {"taken": 3},
    ],
    ids=str,
)
def test_odd_baseline_is_one_sentence(
    change: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ekd_edge.cli.main import main as edge

    monkeypatch.setenv("EKD_BASELINES", str(tmp_path))
    baselines = {"sensor / hash": {**FIELDS, **change}}
    (tmp_path / "anna.json").write_text(json.dumps({"ekd_baselines": 1, "wearer": "anna", "baselines": baselines}))
    assert edge(["--port", "sim://?speed=0&seconds=1", "--model", "demo", "--wearer", "anna"]) == 2
    assert "anna.json holds no baselines of anna: delete it and calibrate again" in capsys.readouterr().err


def test_pipe_and_deep_text_are_no_baselines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ekd_edge.cli.main import main as edge

    monkeypatch.setenv("EKD_BASELINES", str(tmp_path))
    os.mkfifo(tmp_path / "anna.json")
    (tmp_path / "ben.json").write_text("[" * 100_000)
    for wearer in ("anna", "ben"):
        assert edge(["--port", "sim://?speed=0&seconds=1", "--model", "demo", "--wearer", wearer]) == 2
        assert f"{wearer}.json holds no baselines of {wearer}" in capsys.readouterr().err
