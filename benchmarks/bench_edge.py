"""Running cost of `ekd-edge` next to a straightforward script, and the number of sensors that one core can serve.

One sensor at 128 Hz at its own pace: CPU seconds an hour of `ekd-edge` on frame v1, of `ekd-edge` on CSV lines, and of
`naive_edge.py` on the same lines, all at the same time, pinned to the same core; memory; time from the arrival of a
window's last samples to its prediction. Start: seconds from the start of the process to the first prediction, of a
device that sends as fast as it is read. Many: one process on one core with N ports at 128 Hz (frames as the firmware
sends them), fed from another core; it runs in real time where every port has all its samples at the end and the delay
of predictions does not grow. The model is an untrained int8 student of the kind `edge`; signals are synthetic.

    python -m benchmarks.bench_edge [--seconds 60] [--most 512]
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tty
from contextlib import ExitStack
from fractions import Fraction
from itertools import islice
from pathlib import Path
from statistics import median, quantiles

import numpy as np

from benchmarks.bench import options_of, ratio, table, write
from benchmarks.bench_replay import untrained_student
from firmware_bridge.devices.csv.emulator import CsvEmulator
from firmware_bridge.devices.ekd.emulator import EkdEmulator, frame_bursts, linear_hello
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.synthesis import simulated_blocks

HZ = 128
EDGE = str(Path(sys.executable).with_name("ekd-edge"))
CORES = sorted(os.sched_getaffinity(0))
TICKS = os.sysconf("SC_CLK_TCK")
LATE_MS = 250.0
PROMPT_S = 32.0
"""In its first half minute `ekd-edge` reads without pauses, to measure the device's clock soon."""


def main() -> None:
    parser = options_of(__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds of the comparison")
    parser.add_argument("--most", type=int, default=512, help="largest number of sensors")
    options = parser.parse_args()
    prompt_s, starts, lasting_s = PROMPT_S, 5, 60
    if options.smoke:
        options.seconds, options.most, prompt_s, starts, lasting_s = 3.0, 1, 0.0, 1, 8
    model = untrained_student("edge")
    figures: dict[str, str | int | float] = {"seconds": options.seconds}
    figures |= one_sensor(model, options.seconds, prompt_s)
    figures |= start(model, starts)
    figures |= many_sensors(model, options.most, lasting_s)
    print(f"\n{write('edge', figures, options.smoke)}")


def waveform(seconds: int, seed: int = 1) -> Waveform:
    return Waveform(islice(simulated_blocks(float(HZ), seed, HZ), seconds), Fraction(HZ))


def pinned(core: int, command: list[str], out: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "EKD_STATUS": str(out.with_suffix(".status"))}
    with out.open("wb") as stdout, out.with_suffix(".err").open("wb") as stderr:
        return subprocess.Popen(["taskset", "-c", str(core), *command], stdout=stdout, stderr=stderr, env=environment)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def one_sensor(model: Path, seconds: float, prompt_s: float) -> dict[str, float]:
    """Measure CPU time, memory and latency of the three programs, side by side."""
    length = int(seconds + prompt_s) + 120
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        ports = {
            "ekd-edge, frames": PtyDevice(Player(EkdEmulator(waveform(length)))),
            "ekd-edge, lines": PtyDevice(Player(CsvEmulator(waveform(length)))),
            "naive, lines": PtyDevice(Player(CsvEmulator(waveform(length)))),
        }
        processes = {}
        for number, (program, device) in enumerate(ports.items()):
            stack.enter_context(device)
            command = [EDGE, "--port", device.path, "--json", "--model", str(model)]
            if program == "ekd-edge, lines":
                command += ["--format", "csv", "--rate", str(HZ), "--unit", "uS"]
            if program == "naive, lines":
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.naive_edge",
                    device.path,
                    str(model),
                    str(HZ),
                ]
            processes[program] = pinned(CORES[0], command, folder / f"{number}.out")
        outs = {program: folder / f"{number}.out" for number, program in enumerate(ports)}
        while any(path.stat().st_size == 0 for path in outs.values()):
            time.sleep(0.5)
        time.sleep(prompt_s)
        before = {program: cpu_s(process.pid) for program, process in processes.items()}
        began = time.monotonic()
        shares: dict[str, list[float]] = {program: [] for program in ports}
        while time.monotonic() - began < seconds:
            time.sleep(seconds / 6)
            for program, process in processes.items():
                now = cpu_s(process.pid)
                shares[program].append((now - before[program]) / (seconds / 6))
                before[program] = now
        memory = {program: rss_mb(process.pid) for program, process in processes.items()}
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
            process.wait()
        latencies = [json.loads(line)["latency_ms"] for line in outs["ekd-edge, frames"].read_text().splitlines()]
    hours = {program: 3600 * median(values) for program, values in shares.items()}
    print(table(["one sensor at 128 Hz", "CPU s per hour", "MB"], [[p, hours[p], memory[p]] for p in ports]))
    cuts = quantiles(latencies, n=100)
    print(f"arrival to prediction: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms, {len(latencies)} windows")
    return {
        "cpu_s_per_hour": hours["ekd-edge, frames"],
        "cpu_s_per_hour_csv": hours["ekd-edge, lines"],
        "cpu_s_per_hour_naive": hours["naive, lines"],
        "cpu_ratio_vs_naive": ratio(shares["naive, lines"], shares["ekd-edge, lines"]),
        "rss_mb": memory["ekd-edge, frames"],
        "rss_mb_naive": memory["naive, lines"],
        "latency_p50_ms": cuts[49],
        "latency_p99_ms": cuts[98],
    }


def start(model: Path, times: int) -> dict[str, float]:
    """Measure seconds from the start to the first prediction, of a device that sends as fast as it is read."""
    found = []
    for _ in range(times):
        with PtyDevice(Player(EkdEmulator(waveform(60)), speed=0)) as device:
            began = time.monotonic()
            command = [EDGE, "--port", device.path, "--json", "--model", str(model), "--once"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
                assert process.stdout is not None
                process.stdout.readline()
                found.append(time.monotonic() - began)
                process.stdout.read()
    print(f"start to first window: {median(found):.2f} s")
    return {"cold_start_s": median(found)}


class Feeder(threading.Thread):
    """Writes the same frames to many ports, at 128 Hz each, with eight samples per frame."""

    def __init__(self, masters: list[int], seconds: int) -> None:
        super().__init__()
        blocks = islice(simulated_blocks(float(HZ), 1, 8), seconds * 16)
        counts = [(block / 50 * 65536).astype(np.uint16) for block in blocks]
        self._bursts = list(frame_bursts(counts, linear_hello(Fraction(HZ))))
        self._masters = masters
        self.full = 0
        self.sent = 0

    def run(self) -> None:
        """Write until every frame is sent."""
        began = time.monotonic()
        for burst in self._bursts:
            due = began + burst.samples / HZ
            time.sleep(max(0.0, due - time.monotonic()))
            for master in self._masters:
                try:
                    os.write(master, burst.data)
                except BlockingIOError:
                    self.full += 1
            self.sent = burst.samples


def keeps_real_time(model: Path, sensors: int, seconds: int) -> tuple[bool, dict[str, float]]:
    """Run one process with some sensors. Return whether it keeps real time, and its CPU share, memory and latency."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        masters, ports = [], []
        for _ in range(sensors):
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)
            ports.append(os.ttyname(slave))
            masters.append(master)
            stack.callback(os.close, master)
            stack.callback(os.close, slave)
        arguments = [argument for port in ports for argument in ("--port", port)]
        command = [EDGE, *arguments, "--format", "ekd", "--json", "--model", str(model)]
        process = pinned(CORES[0], command, folder / "p.out")
        try:
            while "reading" not in (folder / "p.err").read_text():
                time.sleep(0.2)
                if process.poll() is not None:
                    return False, {}
            time.sleep(2 + sensors / 100)
            feeder = Feeder(masters, seconds)
            feeder.start()
            time.sleep(seconds * 0.6)
            before, began = cpu_s(process.pid), time.monotonic()
            feeder.join()
            share = (cpu_s(process.pid) - before) / (time.monotonic() - began)
            memory = rss_mb(process.pid)
            time.sleep(1)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            process.kill()
            process.wait()
        err = (folder / "p.err").read_text()
        lines = [json.loads(line) for line in (folder / "p.out").read_text().splitlines()]
    latencies = [line["latency_ms"] for line in lines[len(lines) // 2 :]]
    received = int(err.split(" samples received")[0].split()[-1]) if " samples received" in err else 0
    cuts = quantiles(latencies, n=100) if len(latencies) > 2 else [float("inf")] * 99
    in_time = feeder.full == 0 and received >= sensors * (feeder.sent - 16) and cuts[98] < LATE_MS
    return in_time, {"share": share, "mb": memory, "p50": cuts[49], "p99": cuts[98]}


def many_sensors(model: Path, most: int, seconds: int) -> dict[str, float]:
    """The growth curve, and the largest number of sensors that ran in real time."""
    numbers = [n for n in (1, 8, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1000) if n <= most]
    rows, figures, best = [], {}, 0
    for sensors in numbers:
        in_time, measured = keeps_real_time(model, sensors, seconds)
        if measured:
            rows.append(
                [
                    sensors,
                    100 * measured["share"],
                    measured["mb"],
                    measured["p50"],
                    measured["p99"],
                    "yes" if in_time else "no",
                ]
            )
            figures[f"share_{sensors}_sensors"] = measured["share"]
        if not in_time:
            break
        best = sensors
    print(table(["sensors, one core", "CPU %", "MB", "p50 ms", "p99 ms", "real time"], rows))
    return {"sensors_per_core": best, **figures}


if __name__ == "__main__":
    main()
