"""Refusals of the real command as a process: exit status 2, one sentence, no output."""

import fcntl
import os
import pty
import subprocess
import threading
import time
import tty
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.cli.main import main
from ekd_edge.model.manifest import Manifest
from firmware_bridge.emulation.pty import PtyDevice
from tests.helpers.edge_command import CSV, EDGE, Wire, edge, predictions, recording, refused, running
from tests.helpers.numbered_sensor import numbered_device

WriteModel = Callable[..., Path]


def test_missing_source_lists_the_ports(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    message = capsys.readouterr().err
    assert "--port" in message
    assert "ports here: " in message or "sim://" in message


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rate", "0"],
        ["--rate", "1/0"],
        ["--rate", "fast"],
        ["--adc-bits", "0"],
        ["--seconds", "-1"],
        ["--seconds", "nan"],
        ["--unit", "volts"],
        ["--replay", "x.csv"],
        ["--hysteresis", "1"],
        ["--margin", "-0.1"],
    ],
)
def test_usage_errors_exit_2(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--port", "sim://", *arguments])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("ekd-edge: argument ")
    assert message.count("\n") == 1


def test_unit_adc_without_adc_bits_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["calibrate", "--wearer", "a"]):
        assert main([*command, "--port", "sim://", "--unit", "adc"]) == 2
        assert "add --adc-bits 10" in capsys.readouterr().err


def test_record_folder_below_a_file_is_refused(tmp_path: Path, model_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = edge("--port", "sim://", "--model", model_path, "--record", tmp_path / "file" / "r")
    refused(done, f"{tmp_path}/file is not a folder")


def test_record_folder_without_permission_is_refused(tmp_path: Path, model_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    command = [EDGE, "--port", "sim://", "--model", str(model_path), "--record", str(tmp_path / "locked" / "r")]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    refused(done, f"writing to {tmp_path}/locked is not allowed")


def test_missing_port_is_refused(model_path: Path) -> None:
    refused(edge("--port", "/dev/ttyNONE9", "--model", model_path), "/dev/ttyNONE9 does not exist")


def test_missing_port_is_reported_before_a_missing_model(tmp_path: Path) -> None:
    refused(edge("--port", "/dev/ttyNONE9", cwd=tmp_path), "/dev/ttyNONE9 does not exist")


def test_busy_port_is_refused(wire: Wire, model_path: Path) -> None:
    descriptor = os.open(wire.name, os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refused(edge("--port", wire.name, "--model", model_path), "in use by another program")
    finally:
        os.close(descriptor)


def test_forbidden_port_names_the_group_of_its_node(wire: Wire, model_path: Path) -> None:
    command = [EDGE, "--port", wire.name, "--model", str(model_path)]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    os.chmod(wire.name, 0o040)  # noqa: PTH101
    group = Path(wire.name).group()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    refused(done, f"no permission to open {wire.name} (group {group}")


@pytest.mark.parametrize("format", ["auto", "ekd", "csv"])
def test_wrong_baud_rate_is_reported(wire: Wire, model_path: Path, format: str) -> None:
    with running("--port", wire.name, "--format", format, "--model", model_path, "--json") as process:
        noise = np.random.default_rng(2).integers(0, 256, 4096, dtype=np.uint8).tobytes()
        ended = threading.Event()
        sender = threading.Thread(target=wire.send_until, args=(ended, noise))
        sender.start()
        out, err = process.communicate(timeout=300)
        ended.set()
        sender.join()
    refused(subprocess.CompletedProcess([], process.returncode, out, err), "check the baud rate")


def test_once_ends_the_command_when_the_device_is_unplugged(model_path: Path) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    with running("--port", os.ttyname(slave), "--once", *CSV, "--json", "--model", model_path) as process:
        os.close(slave)
        os.write(master, b"# start\n" + b"5.25\n5.5\n" * 128)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(0.5)
        os.close(master)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert [p["time"] for p in predictions(first + out)] == [6.0, 7.0, 8.0][: len(predictions(first + out))]
    assert "256 samples received" in err
    assert "went away" in err
    assert "Traceback" not in err


def test_missing_model_is_refused(tmp_path: Path) -> None:
    refused(edge("--port", "sim://", "--model", tmp_path / "no.tflite"), "no model file", "ekd-export")


def test_folder_without_a_model_suggests_the_demo_model(tmp_path: Path) -> None:
    refused(edge("--port", "sim://", cwd=tmp_path), "no model here: try --model demo, run `ekd-export --int8`")


@pytest.mark.parametrize("fault", ["truncated", "foreign", "altered", "bare"])
def test_damaged_model_is_refused(tmp_path: Path, model_path: Path, fault: str) -> None:
    content = bytearray(model_path.read_bytes())
    if fault == "truncated":
        del content[-100:]
    elif fault == "foreign":
        content[:] = b"\x89PNG" + bytes(500)
    elif fault == "altered":
        content[600] ^= 1
    else:
        del content[content.rfind(b"PK\3\4") :]
    (tmp_path / "bad.tflite").write_bytes(content)
    refused(
        edge("--port", "sim://", "--model", tmp_path / "bad.tflite"),
        "bad.tflite",
        "ekd-export" if fault != "altered" else "altered",
    )


def test_model_for_another_signal_is_refused(tmp_path: Path, write_model: WriteModel, gsr_manifest: Manifest) -> None:
    brain = write_model(tmp_path / "eeg.tflite", signal=replace(gsr_manifest.signal, unit="uV"))
    refused(edge("--port", "sim://", "--model", brain), "eeg.tflite was made for a signal in uV")


def test_missing_recording_is_refused(tmp_path: Path, model_path: Path) -> None:
    refused(edge("--replay", tmp_path / "no.csv", "--model", model_path), "no.csv")
    refused(edge("--replay", tmp_path, "--model", model_path), "holds no recording")


def test_recording_in_another_unit_gets_no_label(tmp_path: Path, model_path: Path) -> None:
    (tmp_path / "r.csv").write_text("2669\n2671\n2670\n" * 200)
    done = edge("--replay", tmp_path / "r.csv", "--rate", "32", "--unit", "uS", "--model", model_path, "--json")
    assert done.returncode == 2
    assert "has a usable signal" in done.stderr
    assert "--unit" in done.stderr
    assert all(p["targets"]["arousal"]["label"] is None for p in predictions(done.stdout))  # type: ignore[index]


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        ("", [], ["is empty"]),
        ("# only\n# comments\n", [], ["contains no samples"]),
        ("5.1\n5.2\n5.3\n" * 100, ["--unit", "uS"], ["do not state the sampling rate"]),
        ("512\n513\n514\n" * 100, ["--rate", "32"], ["do not state their unit"]),
        ("2669\n" * 500, ["--rate", "32", "--unit", "adc", "--adc-bits", "10"], ["10-bit", "give its resolution"]),
        ("hello\nworld\n" * 2000, [], ["has no line of numbers"]),
        (
            "5.1\n5.2\nfive\n" * 100,
            ["--rate", "32", "--unit", "uS"],
            ["100 lines are not rows of the table", "line 3: 'five'", "correct them"],
        ),
    ],
    ids=["empty", "comments", "no-rate", "no-unit", "wrong-bits", "prose", "damaged"],
)
def test_unusable_recording_is_refused(
    tmp_path: Path, model_path: Path, content: str, arguments: list[str], words: list[str]
) -> None:
    (tmp_path / "r.csv").write_text(content)
    refused(edge("--replay", tmp_path / "r.csv", *arguments, "--model", model_path, "--json"), *words)


def test_signal_chain_that_overflows_is_one_sentence(
    write_model: WriteModel, gsr_manifest: Manifest, tmp_path: Path
) -> None:
    signal = gsr_manifest.signal
    odd = replace(signal, normalization=replace(signal.normalization, gain=1e308))
    path = write_model(tmp_path / "odd.tflite", signal=odd)
    refused(
        edge("--replay", recording(tmp_path / "r.csv"), *CSV, "--model", path, "--json"),
        "the signal chain of",
        "odd.tflite",
        "export the model again",
    )


def test_limit_of_open_files_that_is_too_low_is_refused_at_the_start(model_path: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        devices = [stack.enter_context(PtyDevice(numbered_device(60, 1))) for _ in range(4)]
        ports = [word for device in devices for word in ("--port", device.path)]
        command = [
            EDGE,
            *ports,
            "--model",
            str(model_path),
            "--record",
            str(tmp_path / "r"),
            "--seconds",
            "2",
            "--json",
        ]
        few, enough = (
            subprocess.run(
                ["bash", "-c", f'ulimit -n {limit}; exec "$@"', "-", *command],
                capture_output=True,
                text=True,
                timeout=300,
                env={**os.environ, "EKD_STATUS": str(tmp_path / "status")},
            )
            for limit in (33, 34)
        )
    refused(few, "4 ports need 34 open files, and the limit is 33", "ulimit -n 134")
    assert enough.returncode == 0
    assert " samples recorded, 0 not" in enough.stderr
