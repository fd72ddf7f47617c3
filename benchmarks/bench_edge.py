"""Running cost of `ekd-edge` next to a straightforward script, and the number of sensors that one core can serve.

One sensor at 128 Hz at its own pace: CPU seconds an hour (of the scheduler's nanoseconds), wake-ups a second and memory
of `ekd-edge` on frame v1, of the same on a terminal, of `ekd-edge` on CSV lines, and of `naive_edge.py` on the same
lines, all at the same time, pinned to the same core, their windows due at different times; each stdout is read.
Latency: as each prediction states it, and from outside, from the write of a window's last sample until its line can be
read. Start: seconds from the start of the process to the first prediction. Many: one process on one core with N ports
at 128 Hz (frames as the firmware sends them), fed from another core, with phases spread as those of real sensors are,
and all due at once; it runs in real time where every port has all its samples at the end and predictions are not late.
How cold the machine goes: a fixed numpy loop and a classification, hot and after a second of sleep. The model is an
untrained int8 student of the kind `edge`; signals are synthetic.

    python -m benchmarks.bench_edge [--seconds 60] [--most 2000] [--before CHECKOUT]
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.bench import ROOT, options_of, ratio, table, write
from benchmarks.edge_feeding import HZ, Feed, Sensors, waveform
from benchmarks.edge_process import (
    CORE,
    EDGE,
    Program,
    coldness,
    edge_environment,
    latencies_ms,
    percentiles,
    pump,
    rss_mb,
)
from firmware_bridge.devices.ekd.emulator import EkdEmulator
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice

LATE_MS = {False: 250.0, True: 1000.0}
"""Limit of p99, where phases are spread and where all windows are due at once: those are done before the next ones."""
PROMPT_S = 32.0
"""`ekd-edge` reads more often in its first half minute, to measure the device's clock soon."""
STEPS = (1, 64, 256, 512, 1000, 1500, 2000)
AT_ONCE_FROM = 256
LATENCIES = ("latency_p50", "latency_p99", "outside_p50", "outside_p99")
SENSORS_HEADER = ["sensors, one core", "CPU %", "MB", "p50 ms", "p99 ms", "outside p50", "outside p99", "real time"]
FRAMES = ["--format", "ekd"]
CSV = ["--format", "csv", "--rate", str(HZ), "--unit", "uS"]

Figures = dict[str, str | int | float]


def main() -> None:
    parser = options_of(__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds of the comparison")
    parser.add_argument("--most", type=int, default=STEPS[-1], help="largest number of sensors")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier commit, measured in the same run")
    options = parser.parse_args()
    prompt_s, starts, lasting_s, naps = PROMPT_S, 5, 60, 9
    if options.smoke:
        options.seconds, options.most, prompt_s, starts, lasting_s, naps = 3.0, 1, 0.0, 1, 10, 1
    # What feeds and reads the measured process runs on the other cores.
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {CORE} or {CORE})
    before = None if options.before is None else options.before.resolve()
    model = model_of(ROOT)
    figures: Figures = {"seconds": options.seconds}
    figures |= cold_machine(model, naps)
    figures |= one_sensor(model, options.seconds, prompt_s, before)
    figures |= start(model, starts)
    figures |= many_sensors(options.most, lasting_s, before)
    if not options.smoke:  # a smoke run downloads nothing
        from benchmarks.bench_install import size
        from ekd_edge.deploy.pi_os import PI_OSES

        figures["install_mb"] = size(PI_OSES["12"])
    print(f"\n{write('edge', figures, options.smoke)}")


def model_of(checkout: Path) -> Path:
    """Return the untrained model as a checkout makes it: another commit may not read the manifest of this one."""
    code = "from benchmarks.bench_replay import untrained_student; print(untrained_student('edge').absolute())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=checkout, env=edge_environment(checkout), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the model cannot be made in {checkout}: {done.stderr}")
    return Path(done.stdout.splitlines()[-1])


def cold_machine(model: Path, naps: int) -> Figures:
    """Print how much slower a fixed numpy loop and a classification are after a second of sleep."""
    found = coldness(model, naps)
    rows = [
        [name, found[f"{name}_hot_ms"], found[f"{name}_cold_ms"], found[f"{name}_cold_ms"] / found[f"{name}_hot_ms"]]
        for name in ("numpy_loop", "classification")
    ]
    print(table(["how cold this machine goes, ms", "hot", "after 1 s", "ratio"], rows), end="\n\n")
    return dict(found)


@dataclass(frozen=True, slots=True)
class Case:
    """A program of the comparison.

    command: PORT stands for its port. kind: of what its sensor sends. checkout: whose code is run. terminal: whether
    its stdout is one.
    """

    command: list[str]
    kind: str
    checkout: Path = ROOT
    terminal: bool = False


def cases(model: Path, before: Path | None) -> dict[str, Case]:
    """Return the programs that are run side by side."""
    edge = [EDGE, "--model", str(model), "--port", "PORT"]
    old = [EDGE, "--model", "" if before is None else str(model_of(before)), "--port", "PORT"]
    found = {
        "ekd-edge, frames": Case([*edge, *FRAMES, "--json"], "frames"),
        "ekd-edge, frames, live view": Case([*edge, *FRAMES], "frames", terminal=True),
        "ekd-edge, lines": Case([*edge, *CSV, "--json"], "lines"),
        "naive, lines": Case([sys.executable, "-m", "benchmarks.naive_edge", "PORT", str(model), str(HZ)], "lines"),
    }
    if before is not None:
        found["before, frames"] = Case([*old, *FRAMES, "--json"], "frames", before)
        found["before, lines"] = Case([*old, *CSV, "--json"], "lines", before)
    return found


def one_sensor(model: Path, seconds: float, prompt_s: float, before: Path | None) -> Figures:
    """Measure CPU time, wake-ups, memory and latency of the programs, side by side."""
    compared = cases(model, before)
    length = int(seconds + prompt_s) + 60
    shares: dict[str, list[float]] = {}
    rows, figures = [], Figures()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        sensors = stack.enter_context(Sensors(len(compared)))
        running: dict[str, Program] = {}
        for (title, case), port in zip(compared.items(), sensors.ports, strict=True):
            command = [port if word == "PORT" else word for word in case.command]
            environment = edge_environment(case.checkout)
            running[title] = Program(command, folder, str(len(running)), environment, case.terminal)
            stack.callback(running[title].kill)
        programs = list(running.values())
        until_open(programs, [[port] for port in sensors.ports])
        feeds = [Feed(case.kind, length, number / len(compared)) for number, case in enumerate(compared.values())]
        feeding = sensors.feeding(feeds, folder)
        stack.callback(feeding.stop)
        while not all(program.output for program in programs):
            pump(programs, 0.5)
        pump(programs, PROMPT_S if prompt_s else 2)
        usages = {title: [program.usage()] for title, program in running.items()}
        for _ in range(6):
            pump(programs, seconds / 6)
            for title, program in running.items():
                usages[title].append(program.usage())
        written = feeding.stop()
        for number, (title, program) in enumerate(running.items()):
            found = usages[title]
            shares[title] = [b.cpu_share_since(a) for a, b in pairwise(found)]
            wakeups = (found[-1].wakeups - found[0].wakeups) / (found[-1].at_s - found[0].at_s)
            mb = rss_mb(program.process.pid)
            program.stop()
            rows.append([title, 3600 * median(shares[title]), wakeups, mb, "", "", "", ""])
            key = title.removeprefix("ekd-edge, ").replace(", ", "_").replace(" ", "_")
            figures |= {f"cpu_s_per_hour_{key}": rows[-1][1], f"wakeups_per_s_{key}": wakeups, f"rss_mb_{key}": mb}
            if "--json" in compared[title].command:
                stated, outside = latencies_ms(program, written, {None: number})
                rows[-1][4:] = [*percentiles(stated), *percentiles(outside)]
                figures |= dict(zip((f"{each}_ms_{key}" for each in LATENCIES), rows[-1][4:], strict=True))
    print(table(["one sensor at 128 Hz", "CPU s/h", "wake-ups/s", "MB", *LATENCIES], rows), end="\n\n")
    # The main figures are those of frames, without the name.
    for key in ("cpu_s_per_hour", "wakeups_per_s", "rss_mb", *(f"{each}_ms" for each in LATENCIES)):
        figures[key] = figures.pop(f"{key}_frames")
    figures["cpu_ratio_vs_naive"] = ratio(shares["ekd-edge, lines"], shares["naive, lines"])
    view, silent = shares["ekd-edge, frames, live view"], shares["ekd-edge, frames"]
    figures["live_view_percent_of_a_core"] = 100 * (median(view) - median(silent))
    if before is not None:
        figures["cpu_ratio_vs_before"] = ratio(silent, shares["before, frames"])
        figures["cpu_ratio_vs_before_lines"] = ratio(shares["ekd-edge, lines"], shares["before, lines"])
    return figures


def until_open(programs: list[Program], ports: list[list[str]]) -> None:
    """Wait until each program has opened its ports and has flushed what waited there."""
    while not all(program.holds(names) for program, names in zip(programs, ports, strict=True)):
        pump(programs, 0.2)
        for program in programs:
            if not program.running:
                raise SystemExit(f"a program ended at its start: {program.err}")
    pump(programs, 1)


def start(model: Path, times: int) -> Figures:
    """Measure seconds from the start to the first prediction, of a device that sends as fast as it is read."""
    found = []
    for _ in range(times):
        with PtyDevice(Player(EkdEmulator(waveform(60)), speed=0)) as device:
            began = time.monotonic()
            command = [EDGE, "--port", device.path, "--json", "--model", str(model), "--once"]
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=edge_environment()
            ) as process:
                assert process.stdout is not None
                process.stdout.readline()
                found.append(time.monotonic() - began)
                process.stdout.read()
    print(f"start to first window: {median(found):.2f} s\n")
    return {"cold_start_s": median(found)}


def keeps_real_time(
    model: Path, number: int, seconds: int, checkout: Path, at_once: bool
) -> tuple[bool, dict[str, float]]:
    """Run one process with some sensors.

    Args:
        model: the model file.
        number: of sensors.
        seconds: that they send.
        checkout: whose `ekd-edge` is run.
        at_once: whether the windows of all sensors are due together; else their phases are spread over a second.

    Returns:
        Whether it keeps real time, and its share of the core, memory and latencies.
    """
    feeds = [Feed("frames", seconds, 0.0 if at_once else each / number) for each in range(number)]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        sensors = stack.enter_context(Sensors(number))
        arguments = [argument for port in sensors.ports for argument in ("--port", port)]
        command = [EDGE, *arguments, *FRAMES, "--json", "--model", str(model)]
        program = Program(command, folder, "edge", edge_environment(checkout))
        stack.callback(program.kill)
        until_open([program], [sensors.ports])
        feeding = sensors.feeding(feeds, folder)
        stack.callback(feeding.stop)
        pump([program], seconds * 0.6)
        usage = program.usage()
        while feeding.running:
            pump([program], 0.1)
        share = program.usage().cpu_share_since(usage)
        memory = rss_mb(program.process.pid)
        pump([program], 1.5)
        program.stop()
        written = feeding.stop()
        of_port = {None if number == 1 else port: each for each, port in enumerate(sensors.ports)}
        stated, outside = latencies_ms(program, written, of_port)
        received = int(program.err.split(" samples received")[0].split()[-1])
    half = len(outside) // 2
    (p50, p99), (outside_p50, outside_p99) = percentiles(stated[half:]), percentiles(outside[half:])
    in_time = written.full == 0 and received >= written.samples - 16 * number and p99 < LATE_MS[at_once]
    measured = {"share": share, "mb": memory, "p50": p50, "p99": p99, "outside_p50": outside_p50}
    return in_time, {**measured, "outside_p99": outside_p99}


def many_sensors(most: int, seconds: int, before: Path | None) -> Figures:
    """The growth curves, and the largest number of sensors that ran in real time."""
    kinds = {"spread": (ROOT, False, 1), "at_once": (ROOT, True, AT_ONCE_FROM)}
    if before is not None:
        kinds["before_spread"] = (before, False, 1)
    best, figures, rows = dict.fromkeys(kinds, 0), Figures(), []
    for number in (step for step in STEPS if step <= most):
        for kind, (checkout, at_once, first) in list(kinds.items()):
            if number < first:
                continue
            in_time, found = keeps_real_time(model_of(checkout), number, seconds, checkout, at_once)
            shown = [found[key] for key in ("mb", "p50", "p99", "outside_p50", "outside_p99")]
            rows.append([f"{number}, {kind}", 100 * found["share"], *shown, "yes" if in_time else "no"])
            print(table(SENSORS_HEADER, rows[-1:]).splitlines()[-1], file=sys.stderr)
            figures |= {f"{kind}_{number}_{key}": value for key, value in found.items()}
            if in_time:
                best[kind] = number
            else:
                del kinds[kind]
    print(table(SENSORS_HEADER, rows))
    figures |= {"sensors_per_core": best["spread"], "sensors_per_core_at_once": best["at_once"]}
    if best["spread"]:
        figures["sensors_latency_p99_ms"] = figures[f"spread_{best['spread']}_p99"]
    if before is not None:
        figures["sensors_per_core_before"] = best["before_spread"]
    return figures


if __name__ == "__main__":
    main()
