"""Faults of the machine that ekd-edge runs on: kills, stops, disks, clocks, readers, files."""

import json
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from firmware_bridge.emulation.pty import PtyDevice
from tests.helpers.edge_command import EDGE
from tests.helpers.load import LOAD_S
from tests.helpers.numbered_sensor import HZ, Edge, check, numbered_device, until

Row = Callable[[str, str, str, str], None]
Many = Callable[[int, int], int]


def test_killed_process_loses_at_most_a_second(model_path: Path, tmp_path: Path, row: Row, many: Many) -> None:
    """kill -9 at random moments: samples received up to a second before are recorded without a gap."""
    times = many(24, 200)
    chance = random.Random(3)
    moments = [1.0 + 3 * chance.random() for _ in range(times)]

    def once(turn: int) -> tuple[float, int, int]:
        folder = tmp_path / str(turn)
        with PtyDevice(numbered_device(60, 1)) as device:
            arguments = ("--port", device.path, "--json", "--model", model_path, "--record", folder / "r")
            with Edge(folder, *arguments) as edge:
                until(lambda: device.sent_bytes)
                began = time.monotonic()
                time.sleep(moments[turn])
                edge.process.kill()
                edge.process.wait()
                lived_s = time.monotonic() - began
        if not any((folder / "r").glob("*.ekdrec")):
            return lived_s, 0, 0  # killed before the first second was written
        found = check(folder / "r")
        assert (found.wrong, found.gaps) == (0, 0)
        return lived_s, found.samples, found.damaged

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(once, range(times)))
    lost_s = [lived_s - samples / HZ for lived_s, samples, _ in outcomes]
    assert max(lost_s) < 1.0 + LOAD_S
    row(
        "kill -9",
        f"{times} times, 1 to 4 s after the start",
        "the recording lacks 1 s at most, and holds no gap",
        f"{sum(lost_s) / times:.2f} s lost on average, {max(lost_s):.2f} s at most; "
        f"{sum(damaged for _, _, damaged in outcomes)} torn frames",
    )


def test_process_stopped_for_ten_seconds_loses_nothing_within_the_buffer(
    model_path: Path, tmp_path: Path, row: Row
) -> None:
    """SIGSTOP, as a suspended machine: the node's buffer fills, and the device waits as an emulated one can."""
    with PtyDevice(numbered_device(60, 1)) as device:
        arguments = ("--port", device.path, "--json", "--model", model_path, "--record", tmp_path / "r")
        with Edge(tmp_path, *arguments) as edge:
            until(lambda: len(edge.out) >= 2)
            edge.process.send_signal(signal.SIGSTOP)
            time.sleep(10)
            edge.process.send_signal(signal.SIGCONT)
            had = len(edge.out)
            until(lambda: len(edge.out) >= had + 14)
            time.sleep(3)
            status = edge.status()
            assert edge.stop() == 0
            received, dropped = edge.received
    found = check(tmp_path / "r")
    assert (found.samples, found.wrong, found.missing) == (received, 0, dropped)
    assert "samples a second" not in edge.err, "the measured clock did not change"
    times = [json.loads(line)["time"] for line in edge.out]
    assert times == [6.0 + k for k in range(len(times))]
    assert status is not None
    row(
        "SIGSTOP for 10 s",
        "once",
        "no loss within the node's buffer, the measured rate unchanged",
        f"{received} received, {dropped} dropped, clock {status['ports'][0]['clock_ppm'] or 0:+.0f} ppm",
    )


WALL = """
import time
real, began = time.time, time.monotonic()
def jumpy():
    return real() + (86400 * 3 if int((time.monotonic() - began) * 2) % 2 else -3600)
time.time = jumpy
real_gmtime = time.gmtime
time.gmtime = lambda seconds=None: real_gmtime(jumpy() if seconds is None else seconds)
"""


def test_wall_clock_jumps_change_no_prediction(model_path: Path, tmp_path: Path, row: Row) -> None:
    """Python's wall clock jumps by three days forth and back, twice a second."""
    (tmp_path / "jumps").mkdir()
    (tmp_path / "jumps" / "sitecustomize.py").write_text(WALL)
    with PtyDevice(numbered_device(200, 20)) as device:
        arguments = ("--port", device.path, "--once", "--json", "--model", model_path, "--record", tmp_path / "r")
        with Edge(tmp_path, *arguments, environment={"PYTHONPATH": str(tmp_path / "jumps")}) as edge:
            assert device.wait(60)
            edge.process.wait(300)
            received, dropped = edge.received
    assert (received, dropped) == (200 * HZ, 0)
    times = [json.loads(line)["time"] for line in edge.out]
    assert times == [6.0 + k for k in range(len(times))]
    names = {path.name.split("-")[2][:8] for path in (tmp_path / "r").iterdir()}
    assert len(names) > 1, "the days did jump"
    found = check(tmp_path / "r")
    assert (found.samples, found.wrong, found.missing) == (received, 0, 0)
    total = found.samples
    row(
        "wall clock steps",
        "by three days, twice a second",
        "the same windows and samples as without steps; recordings continue in files of other days",
        f"{received} received, {total} recorded, {len(times)} windows, files of {len(names)} days",
    )


def check_each(folder: Path) -> Iterator[int]:
    """Check the samples of each file separately."""
    for path in folder.iterdir():
        found = check(path)
        assert found.wrong == 0
        yield found.samples


def test_full_disk_counts_lost_samples(model_path: Path, tmp_path: Path, small_disk: Path, row: Row) -> None:
    filler = small_disk / "filler"
    with PtyDevice(numbered_device(3000, 100)) as device:
        arguments = ("--port", device.path, "--once", "--json", "--model", model_path)
        with Edge(tmp_path, *arguments, "--record", small_disk, "--record-free", "0K") as edge:
            until(lambda: "No space left" in edge.err)
            until(lambda: (edge.status() or {"ports": [{"recording": {}}]})["ports"][0]["recording"].get("failing"))
            shown = subprocess.run(
                [sys.executable, "-m", "ekd_edge.cli.main", "status"],
                capture_output=True,
                text=True,
                env=edge.environment,
            )
            filler.unlink(missing_ok=True)
            for path in small_disk.glob("*.ekdrec"):
                path.unlink()
            until(lambda: "recording resumes" in edge.err)
            edge.process.wait(300)
            received, dropped = edge.received
    recorded, lost = edge.recorded
    assert (received, dropped) == (3000 * HZ, 0)
    assert recorded + lost == received
    assert lost > 0
    assert shown.returncode == 1
    assert "recording fails: No space left on device" in shown.stdout
    assert len(edge.out) == 2994
    row(
        "full disk",
        "a disk of 256 kB that fills, and is emptied later",
        "prediction continues; recorded and lost add up; recording resumes",
        f"{received} received = {recorded} recorded + {lost} lost",
    )


def test_read_only_disk_counts_lost_samples(model_path: Path, tmp_path: Path, small_disk: Path, row: Row) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with PtyDevice(numbered_device(1200, 60)) as device:
        arguments = ("--port", device.path, "--once", "--json", "--model", model_path)
        with Edge(tmp_path, *arguments, "--record", small_disk, "--record-free", "0K") as edge:
            until(lambda: "Read-only file system" in edge.err)
            subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
            until(lambda: "recording resumes" in edge.err)
            edge.process.wait(300)
            received, dropped = edge.received
    recorded, lost = edge.recorded
    assert (received, dropped) == (1200 * HZ, 0)
    assert recorded + lost == received
    assert min(recorded, lost) > 0
    assert "Traceback" not in edge.err
    assert len(edge.out) == 1194
    row(
        "read-only disk",
        "from the start, writable later",
        "prediction continues; recorded and lost add up; recording resumes",
        f"{received} received = {recorded} recorded + {lost} lost",
    )


def test_file_size_limit_counts_lost_samples(model_path: Path, tmp_path: Path, row: Row) -> None:
    """As a quota: no file of the process may exceed 64 kB. Needs no root."""
    code = (
        "import resource, os, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    with PtyDevice(numbered_device(1000, 100)) as device:
        command = [sys.executable, "-c", code, EDGE, "--port", device.path, "--once", "--model", str(model_path)]
        done = subprocess.run([*command, "--record", str(tmp_path / "r")], capture_output=True, text=True, timeout=300)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 65536
    last = done.stderr.splitlines()[-2]
    assert "128000 samples received, 0 dropped" in last
    recorded, lost = (
        int(part.split()[0]) for part in last.split("; ")[-1].replace(" samples recorded", "").split(", ")
    )
    assert recorded + lost == 128_000
    assert sum(check_each(tmp_path / "r")) == recorded
    assert "File too large" in done.stderr
    row("a quota", "no file above 64 kB", "recorded and lost add up", f"{recorded} recorded + {lost} lost = 128000")


def test_stuck_stdout_reader_does_not_block_recording(model_path: Path, tmp_path: Path, row: Row) -> None:
    with PtyDevice(numbered_device(6000, 0)) as device:
        command = [EDGE, "--port", device.path, "--once", "--json"]
        command += ["--model", str(model_path), "--record", str(tmp_path / "r")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stderr is not None
        err = process.stderr.read()
        process.wait(300)
        process.stdout.close()
        process.stderr.close()
    assert " samples received, " in err, err
    found = check(tmp_path / "r")
    assert (found.samples, found.wrong, len(found.predictions)) == (6000 * HZ, 0, 5994)
    dropped = int(err.split(" predictions dropped")[0].split()[-1])
    assert 4000 < dropped < 5994
    row(
        "stuck sink",
        "stdout is a pipe without a reader",
        "every sample is received and recorded, the oldest predictions dropped and counted",
        f"{found.samples} recorded, {dropped} of 5994 predictions dropped",
    )


def test_replaced_model_file_does_not_change_the_running_model(model_path: Path, tmp_path: Path, row: Row) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(model_path.read_bytes())
    with (
        PtyDevice(numbered_device(400, 20)) as device,
        Edge(tmp_path, "--port", device.path, "--once", "--json", "--model", model) as edge,
    ):
        until(lambda: edge.out)
        (tmp_path / "new").write_bytes(b"half a file")
        (tmp_path / "new").replace(model)
        assert device.wait(60)
        edge.process.wait(300)
    assert len(edge.out) == 394
    assert edge.err.count("send SIGHUP to ekd-edge, or restart it, to run the new one") == 1
    row(
        "model replaced",
        "by half a file, while it runs",
        "the running model continues, one message",
        f"{len(edge.out)} of 394 windows, one message",
    )
