"""ekd-edge as a real process: output and clean stops."""

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import ekd_edge
from ekd_edge.model.manifest import Manifest, SignOff
from tests.helpers.edge_command import CSV, EDGE, Wire, edge, predictions, recording, running

WriteModel = Callable[..., Path]


def test_replay_prints_one_object_a_window_and_nothing_else(tmp_path: Path, model_path: Path) -> None:
    done = edge("--replay", recording(tmp_path / "r.csv"), *CSV, "--json", "--model", model_path)
    found = predictions(done.stdout)
    assert done.returncode == 0
    assert [(p["time"], p["first_index"]) for p in found] == [(6.0 + i, 64 + 32 * i) for i in range(len(found))]
    assert len(found) in (14, 15)
    assert set(found[0]) == {"version", "first_index", "segment", "time", "utc", "targets", "quality", "reason"}
    last = f"640 samples received, 0 dropped, 0 rejected; {len(found)} windows predicted, 0 withheld"
    assert done.stderr.splitlines()[-1] == f"ekd-edge: {last}"
    assert "synthetic: no person was recorded" in done.stderr.splitlines()[0]


def test_model_trained_on_restarted_trials_is_run_with_a_warning(
    tmp_path: Path, write_model: WriteModel, gsr_manifest: Manifest, caplog: pytest.LogCaptureFixture
) -> None:
    training = replace(gsr_manifest.training, normalization_state="restarted")
    model = write_model(tmp_path / "trials.tflite", training=training)
    done = edge("--replay", recording(tmp_path / "r.csv"), *CSV, "--json", "--model", model)
    assert done.returncode == 0
    assert done.stderr.startswith("ekd-edge: trials.tflite was trained on trials that each restart the running mean")
    ekd_edge.load_model(model)
    assert [record.message[:24] for record in caplog.records] == ["trials.tflite was traine"]


@pytest.mark.parametrize("output", [["--json"], []])
def test_model_with_logits_that_are_not_finite_ends_the_run_with_a_sentence(
    tmp_path: Path, write_model: WriteModel, output: list[str]
) -> None:
    model = write_model(tmp_path / "damaged.tflite", float("nan"))
    live = edge("--port", "sim://?speed=20", "--record", tmp_path / "r", "--model", model, *output)
    replay = edge("--replay", tmp_path / "r", "--model", model, *output)
    for done in (live, replay):
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1] == (
            f"ekd-edge: {model} computes [nan, nan, nan, nan], which are not finite numbers: export the model again"
        )


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


def test_too_short_recording_states_the_seconds_that_a_window_needs(tmp_path: Path, model_path: Path) -> None:
    done = edge("--replay", recording(tmp_path / "r.csv", seconds=3), *CSV, "--json", "--model", model_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith("the first window takes 6 s of uninterrupted signal\n")


@pytest.mark.parametrize("lost", [1, 16, 17])
def test_garbled_lines_are_interpolated_for_half_a_second(lost: int, tmp_path: Path, model_path: Path) -> None:
    path = recording(tmp_path / "r.csv", seconds=30)
    lines = path.read_text().splitlines()
    lines[480 : 480 + lost] = ["4.9?8"] * lost
    path.write_text("\n".join(lines) + "\n")
    done = edge("--replay", path, *CSV, "--json", "--model", model_path)
    assert f"{960 - lost} samples received, {lost} dropped, {lost} rejected" in done.stderr
    found = predictions(done.stdout)
    starts = [int(p["first_index"]) for p in found]  # type: ignore[call-overload]
    assert any(start >= 480 + lost for start in starts)
    over = [p for p, start in zip(found, starts, strict=True) if 480 - 128 < start < 480 + lost]
    assert len(over) == (0 if lost == 17 else 4)
    assert all(p["quality"] == round(1 - lost / 128, 3) for p in over)
    assert all(str(p["reason"]).startswith("samples were lost") for p in over)


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
        out, err = process.communicate(timeout=300)
    assert process.returncode == status
    found = predictions("".join(head) + out)
    assert [p["time"] for p in found] == [6.0 + i for i in range(len(found))]
    assert err.splitlines() == [
        f"ekd-edge: reading {wire.name}: csv at 32 Hz",
        f"ekd-edge: 320 samples received, 0 dropped, 0 rejected; {len(found)} windows predicted, 0 withheld",
    ]


def test_broken_pipe_ends_the_command_quietly(tmp_path: Path, model_path: Path) -> None:
    path = recording(tmp_path / "r.csv", seconds=4000)
    command = f"{EDGE} --replay {path} {' '.join(CSV)} --json --model {model_path} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert len(done.stderr.splitlines()) == 3
    assert "reading r.csv: 32 Hz, uS from column 1, 128,000 samples" in done.stderr
    assert "samples received" in done.stderr


@pytest.mark.parametrize("seconds", [20, 4000])
def test_full_disk_is_reported_in_one_sentence(tmp_path: Path, model_path: Path, seconds: int) -> None:
    path = recording(tmp_path / "r.csv", seconds)
    command = [EDGE, "--replay", str(path), *CSV, "--json", "--model", str(model_path)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 2
    assert "cannot write predictions: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_terminal_gets_a_live_line(wire: Wire, model_path: Path) -> None:
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
        assert process.wait(300) == 130
    finally:
        process.kill()
        process.wait()
        process.stderr.close()  # type: ignore[union-attr]
        os.close(terminal)
        os.close(screen)
    assert "µS" in shown.decode()


def read_until(screen: int, text: bytes, timeout_s: float = 300) -> bytes:
    shown, end = b"", time.monotonic() + timeout_s
    while text not in shown:
        left = end - time.monotonic()
        assert left > 0, shown
        if select.select([screen], [], [], left)[0]:
            shown += os.read(screen, 65536)
    return shown


def test_banner_states_the_sign_off(tmp_path: Path, write_model: WriteModel) -> None:
    source = recording(tmp_path / "a.csv")
    for signoff, about in (
        (None, "(dynamic, never signed off)"),
        (SignOff(0.01, "passed"), "(dynamic)"),
        (SignOff(0.01, "failed"), "(dynamic, sign-off FAILED for --max-drop 0.01)"),
    ):
        model = write_model(tmp_path / "a.tflite", kind="dynamic", recipe="dynamic", signoff=signoff)
        done = edge("--model", model, "--replay", source, *CSV)
        assert done.returncode == 0
        assert f"ekd-edge: {model} {about} predicts" in done.stderr
