"""The real command as a real process: what it prints, how it stops, and what it says when something is wrong."""

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.cli import main
from ekd_edge.manifest import Manifest, SignOff

EDGE = str(Path(sys.executable).with_name("ekd-edge"))
WriteModel = Callable[..., Path]
FIRST_S = 6  # seconds of signal before the first window of the test model
CSV = ["--format", "csv", "--rate", "32", "--unit", "uS"]


@pytest.fixture(autouse=True)
def _no_default_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EKD_MODEL", "EKD_TRUST"):
        monkeypatch.delenv(name, raising=False)


def edge(*arguments: object, timeout: float = 60, **options: object) -> subprocess.CompletedProcess[str]:
    command = [EDGE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)  # type: ignore[call-overload,no-any-return]


def recording(path: Path, seconds: float = 20, rate: int = 32, header: str = "") -> Path:
    walk = np.cumsum(np.random.default_rng(1).normal(scale=0.02, size=int(seconds * rate)))
    path.write_text(header + "".join(f"{value:.4f}\n" for value in 5 + walk - walk.min()))
    return path


@dataclass
class Wire:
    """A pseudo-terminal: the test holds the sensor's end."""

    master: int
    name: str

    def send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.master, data) :]

    def send_until(self, ended: threading.Event, data: bytes) -> None:
        """Send over and over, as fast as it is read."""
        os.set_blocking(self.master, False)
        while not ended.is_set():
            if select.select([], [self.master], [], 0.05)[1]:
                os.write(self.master, data)


@pytest.fixture
def wire() -> Iterator[Wire]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    yield Wire(master, name)
    os.close(slave)
    os.close(master)


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The command once it reads: its banner has been printed and read."""
    process = subprocess.Popen([EDGE, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert "reading" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def predictions(stdout: str) -> list[dict[str, object]]:
    """What was printed with --json, without the one figure that differs from run to run."""
    found = [json.loads(line) for line in stdout.splitlines()]
    for prediction in found:
        assert prediction.pop("latency_ms") >= 0
    return found


def test_replay_prints_one_object_a_window_and_nothing_else(tmp_path: Path, model_path: Path) -> None:
    done = edge("--replay", recording(tmp_path / "r.csv"), *CSV, "--json", "--model", model_path)
    found = predictions(done.stdout)
    assert done.returncode == 0
    assert [(p["time"], p["first_index"]) for p in found] == [(6.0 + i, 64 + 32 * i) for i in range(len(found))]
    assert len(found) in (14, 15)
    assert set(found[0]) == {"first_index", "segment", "time", "targets", "quality", "reason"}
    last = f"640 samples received, 0 dropped, 0 rejected; {len(found)} windows predicted, 0 withheld"
    assert done.stderr.splitlines()[-1] == f"ekd-edge: {last}"
    assert "synthetic: no person was recorded" in done.stderr.splitlines()[0]


def test_replay_without_json_is_one_plain_line_a_window(tmp_path: Path, model_path: Path) -> None:
    done = edge("--replay", recording(tmp_path / "r.csv"), *CSV, "--model", model_path)
    assert done.returncode == 0
    assert all("arousal" in line and "\x1b" not in line for line in done.stdout.splitlines())
    assert done.stdout.startswith("0:00:06  arousal ")


def test_seconds_ends_a_recording_at_that_sample(tmp_path: Path, model_path: Path) -> None:
    source = ["--replay", recording(tmp_path / "r.csv"), *CSV, "--json", "--model", model_path]
    part = edge(*source, "--seconds", 12)
    assert predictions(part.stdout) == predictions(edge(*source).stdout)[:6]
    assert part.stderr.splitlines()[-1].startswith("ekd-edge: 384 samples received, 0 dropped")


def test_a_recording_too_short_for_a_window_says_so(tmp_path: Path, model_path: Path) -> None:
    done = edge("--replay", recording(tmp_path / "r.csv", seconds=3), *CSV, "--json", "--model", model_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith("the first window takes 6 s of uninterrupted signal\n")


def test_a_garbled_line_is_left_out_as_a_gap(tmp_path: Path, model_path: Path) -> None:
    path = recording(tmp_path / "r.csv", seconds=30)
    lines = path.read_text().splitlines()
    lines[480] = "4.9?8"
    path.write_text("\n".join(lines) + "\n")
    done = edge("--replay", path, *CSV, "--json", "--model", model_path)
    assert "959 samples received, 1 dropped, 1 rejected" in done.stderr
    starts = [int(p["first_index"]) for p in predictions(done.stdout)]  # type: ignore[call-overload]
    assert any(start > 480 for start in starts)
    assert not any(start <= 480 < start + 128 for start in starts)


def test_rate_may_be_a_fraction(tmp_path: Path, model_path: Path) -> None:
    path = recording(tmp_path / "r.csv")
    arguments = ["--replay", path, "--format", "csv", "--unit", "uS", "--json", "--model", model_path]
    assert edge(*arguments, "--rate", "97/3").returncode == 0
    assert edge(*arguments, "--rate", "19.5").returncode == 0


def test_default_model_is_the_newest_here(tmp_path: Path, write_model: WriteModel) -> None:
    (tmp_path / "runs" / "a").mkdir(parents=True)
    write_model(tmp_path / "runs" / "a" / "student-float32.tflite")
    done = edge("--replay", recording(tmp_path / "r.csv"), *CSV, "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert "runs/a/student-float32.tflite" in done.stderr


def test_environment_names_the_model(tmp_path: Path, model_path: Path) -> None:
    environment = {**os.environ, "EKD_MODEL": str(model_path)}
    done = edge("--replay", recording(tmp_path / "r.csv"), *CSV, "--json", env=environment, cwd=tmp_path)
    assert done.returncode == 0


def test_electrodes_off_withhold_the_label_and_are_counted(tmp_path: Path, model_path: Path) -> None:
    path = recording(tmp_path / "r.csv")
    with path.open("a") as file:
        file.write("0.0\n" * 640)
    done = edge("--replay", path, *CSV, "--json", "--model", model_path)
    last = predictions(done.stdout)[-1]
    assert last["reason"] == "electrodes off or dry"
    assert last["quality"] == 0.0
    assert last["targets"]["arousal"]["label"] is None  # type: ignore[index]
    withheld = sum(p["targets"]["arousal"]["label"] is None for p in predictions(done.stdout))  # type: ignore[index]
    assert done.stderr.endswith(f"{withheld} withheld\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_stop_cleanly_with_exact_counts(
    wire: Wire, model_path: Path, number: signal.Signals, status: int
) -> None:
    with running("--port", wire.name, *CSV, "--json", "--model", model_path) as process:
        wire.send(b"# start\n" + b"".join(b"5.%d\n" % (i % 97) for i in range(32 * 10)))
        assert process.stdout is not None
        head = [process.stdout.readline() for _ in range(4)]
        time.sleep(0.5)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == status
    found = predictions("".join(head) + out)
    assert [p["time"] for p in found] == [6.0 + i for i in range(len(found))]
    assert err.splitlines() == [
        f"ekd-edge: reading {wire.name}: csv at 32 Hz",
        f"ekd-edge: 320 samples received, 0 dropped, 0 rejected; {len(found)} windows predicted, 0 withheld",
    ]


def test_a_reader_that_leaves_ends_the_command_quietly(tmp_path: Path, model_path: Path) -> None:
    path = recording(tmp_path / "r.csv", seconds=4000)
    command = f"{EDGE} --replay {path} {' '.join(CSV)} --json --model {model_path} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert len(done.stderr.splitlines()) == 2
    assert "samples received" in done.stderr


@pytest.mark.parametrize("seconds", [20, 4000])
def test_a_full_disk_is_told_in_one_sentence(tmp_path: Path, model_path: Path, seconds: int) -> None:
    path = recording(tmp_path / "r.csv", seconds)
    command = [EDGE, "--replay", str(path), *CSV, "--json", "--model", str(model_path)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert "cannot write predictions: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_terminal_gets_a_live_line(wire: Wire, model_path: Path) -> None:
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [EDGE, "--port", wire.name, *CSV, "--model", str(model_path)],
        stdout=terminal,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LC_ALL": "C.UTF-8"},
    )
    try:
        assert process.stderr is not None
        assert "reading" in process.stderr.readline()
        wire.send(b"# start\n" + b"5.25\n5.5\n" * 32)
        shown = read_until(screen, b"waiting for the first window")
        time.sleep(0.3)
        wire.send(b"".join(b"5.%d\n" % (i % 97) for i in range(200)))
        shown += read_until(screen, b"signal 100%")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.wait()
        process.stderr.close()  # type: ignore[union-attr]
        os.close(terminal)
        os.close(screen)
    assert "µS" in shown.decode()


def read_until(screen: int, text: bytes, timeout_s: float = 20) -> bytes:
    shown, end = b"", time.monotonic() + timeout_s
    while text not in shown:
        left = end - time.monotonic()
        assert left > 0, shown
        if select.select([screen], [], [], left)[0]:
            shown += os.read(screen, 65536)
    return shown


def test_neither_port_nor_recording_lists_the_ports(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert "--port" in told
    assert "ports here: " in told or "sim://" in told


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
        ["--unit", "adc"],
        ["--replay", "x.csv"],
    ],
)
def test_usage_errors_exit_2(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--port", "sim://", *arguments])
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The command ended with exit 2 and one sentence that holds the words."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    around = (" predicts ", " samples received, ")  # what is printed at the start and at the end of each run
    told = [line for line in done.stderr.splitlines() if not any(word in line for word in around)]
    assert len(told) == 1, done.stderr
    assert told[0].startswith("ekd-edge: ")
    for word in words:
        assert word in told[0]


def test_missing_port(model_path: Path) -> None:
    refused(edge("--port", "/dev/ttyNONE9", "--model", model_path), "/dev/ttyNONE9 does not exist")


def test_missing_port_is_told_before_a_missing_model(tmp_path: Path) -> None:
    refused(edge("--port", "/dev/ttyNONE9", cwd=tmp_path), "/dev/ttyNONE9 does not exist")


def test_busy_port(wire: Wire, model_path: Path) -> None:
    descriptor = os.open(wire.name, os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refused(edge("--port", wire.name, "--model", model_path), "in use by another program")
    finally:
        os.close(descriptor)


def test_no_permission_names_the_group_of_the_node(wire: Wire, model_path: Path) -> None:
    command = [EDGE, "--port", wire.name, "--model", str(model_path)]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    os.chmod(wire.name, 0o040)  # noqa: PTH101
    group = Path(wire.name).group()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    refused(done, f"no permission to open {wire.name} (group {group}")


@pytest.mark.parametrize("format", ["auto", "ekd", "csv"])
def test_bytes_at_a_wrong_baud_rate(wire: Wire, model_path: Path, format: str) -> None:
    with running("--port", wire.name, "--format", format, "--model", model_path, "--json") as process:
        noise = np.random.default_rng(2).integers(0, 256, 4096, dtype=np.uint8).tobytes()
        ended = threading.Event()
        sender = threading.Thread(target=wire.send_until, args=(ended, noise))
        sender.start()
        out, err = process.communicate(timeout=30)
        ended.set()
        sender.join()
    refused(subprocess.CompletedProcess([], process.returncode, out, err), "--baud")


def test_device_that_goes_away(model_path: Path) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    with running("--port", os.ttyname(slave), "--once", *CSV, "--json", "--model", model_path) as process:
        os.close(slave)
        os.write(master, b"# start\n" + b"5.25\n5.5\n" * 128)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(0.5)
        os.close(master)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert [p["time"] for p in predictions(first + out)] == [6.0, 7.0, 8.0][: len(predictions(first + out))]
    assert "256 samples received" in err
    assert "went away" in err
    assert "Traceback" not in err


def test_model_that_is_not_there(tmp_path: Path) -> None:
    refused(edge("--port", "sim://", "--model", tmp_path / "no.tflite"), "no model file", "ekd-export")


def test_no_model_at_all(tmp_path: Path) -> None:
    refused(edge("--port", "sim://", cwd=tmp_path), "no model here: run `ekd-export --int8`")


@pytest.mark.parametrize("fault", ["truncated", "foreign", "altered", "bare"])
def test_model_that_cannot_be_trusted(tmp_path: Path, model_path: Path, fault: str) -> None:
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


def test_the_banner_says_what_became_of_sign_off(tmp_path: Path, write_model: WriteModel) -> None:
    source = recording(tmp_path / "a.csv")
    for signoff, about in (
        (None, "(dynamic, never signed off)"),
        (SignOff(0.01, True), "(dynamic)"),
        (SignOff(0.01, False), "(dynamic, refused sign-off for --max-drop 0.01)"),
    ):
        model = write_model(tmp_path / "a.tflite", kind="dynamic", recipe="dynamic", signoff=signoff)
        done = edge("--model", model, "--replay", source, *CSV)
        assert done.returncode == 0
        assert f"ekd-edge: {model} {about} predicts" in done.stderr


def test_model_for_another_signal(tmp_path: Path, write_model: WriteModel, gsr_manifest: Manifest) -> None:
    brain = write_model(tmp_path / "eeg.tflite", signal=replace(gsr_manifest.signal, unit="uV"))
    refused(edge("--port", "sim://", "--model", brain), "eeg.tflite was made for a signal in uV")


def test_recording_that_is_not_there(tmp_path: Path, model_path: Path) -> None:
    refused(edge("--replay", tmp_path / "no.csv", "--model", model_path), "no.csv")
    refused(edge("--replay", tmp_path, "--model", model_path), "holds no recording")


def test_recording_in_another_unit_gets_no_label_and_says_so(tmp_path: Path, model_path: Path) -> None:
    (tmp_path / "r.csv").write_text("2669\n2671\n2670\n" * 200)
    done = edge("--replay", tmp_path / "r.csv", "--rate", "32", "--unit", "uS", "--model", model_path, "--json")
    assert done.returncode == 2
    assert "no window" in done.stderr
    assert "--unit" in done.stderr
    assert all(p["targets"]["arousal"]["label"] is None for p in predictions(done.stdout))  # type: ignore[index]


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        ("", [], ["is empty"]),
        ("# only\n# comments\n", [], ["no recording"]),
        ("5.1\n5.2\n5.3\n" * 100, ["--unit", "uS"], ["--rate"]),
        ("512\n513\n514\n" * 100, ["--rate", "32"], ["--unit"]),
        ("2669\n" * 500, ["--rate", "32", "--unit", "adc", "--adc-bits", "10"], ["10-bit", "--adc-bits"]),
        ("hello\nworld\n" * 2000, [], ["neither frames nor CSV"]),
        ("5.1\n5.2\n5.3\n" * 100 + "nan\n5.2\n", ["--rate", "32", "--unit", "uS"], ["'nan'", "sample 300", "repair"]),
    ],
    ids=["empty", "comments", "no-rate", "no-unit", "wrong-bits", "prose", "nan"],
)
def test_recording_that_cannot_be_used(
    tmp_path: Path, model_path: Path, content: str, arguments: list[str], words: list[str]
) -> None:
    (tmp_path / "r.csv").write_text(content)
    refused(edge("--replay", tmp_path / "r.csv", *arguments, "--model", model_path, "--json"), *words)
