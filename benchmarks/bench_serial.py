"""Speed of decoders, of reading lines against pyserial's readline, and CPU share of each live device.

Decoders: MB/s, and seconds of signal per second, for the recorded bytes of an emulated device in reads of 4096 and of
64 bytes. `realtime_factor_bitalino_1khz` is one channel at 1000 Hz in reads of 64 bytes, `decode_mb_per_s` frame v1 in
reads of 4096 bytes.
Lines: the same CSV lines through a pseudo-terminal, read by a loop of pyserial's readline and float and by ekd's
device; interleaved, medians.
Live: CPU seconds of `ekd-edge` per second of signal after start-up, for each device in real time on a pseudo-terminal.
The model is an untrained int8 student of the kind `edge`. All signals are synthetic.

    python -m benchmarks.bench_serial [--seconds 20] [--rounds 5]
"""

import os
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from statistics import median

import numpy as np
import serial

from benchmarks.bench import options_of, ratio, table, write
from benchmarks.bench_replay import untrained_student
from firmware_bridge.devices.bitalino.decoder import rate_command, start_command
from firmware_bridge.devices.csv.emulator import CsvEmulator
from firmware_bridge.devices.detect import open_decoder
from firmware_bridge.devices.emulator import Emulator
from firmware_bridge.devices.registry import find_format
from firmware_bridge.devices.shimmer3.decoder import START
from firmware_bridge.devices.stream import StreamOptions
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.serial_port.device import open_device
from firmware_bridge.synthesis import simulated_blocks

ALL_INPUTS = bytes([0x3F << 2 | 1])
LIVE = {"ekd": [], "csv": [], "grove": [], "shimmer3": [], "bitalino": ["--rate", "1000"]}
LINES = 40_000


def main() -> None:
    parser = options_of(__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds of the live part")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    devices = LIVE
    if options.smoke:
        options.seconds, options.rounds, devices = 1.0, 1, {"ekd": LIVE["ekd"]}
    figures: dict[str, str | int | float] = {"rounds": options.rounds, "live_seconds": options.seconds}
    figures |= decoders(options.rounds)
    figures |= lines(options.rounds)
    figures |= live(options.seconds, devices)
    print(f"\n{write('serial', figures, options.smoke)}")


def decoders(rounds: int) -> dict[str, float]:
    """Measure MB/s and the real-time factor of each decoder."""
    found: dict[str, float] = {}
    rows = []
    for name, wire, seconds, open_options, format in recordings():
        row: list[object] = [name, len(wire) / seconds]
        for size in (4096, 64):
            took = []
            for _ in range(rounds):
                decoder = open_decoder(format, open_options)
                began = time.perf_counter()
                for at in range(0, len(wire), size):
                    decoder.feed(wire[at : at + size])
                took.append(time.perf_counter() - began)
                assert decoder.counts.rejected == 0
                assert decoder.counts.samples > 1000
            mb_per_s, factor = len(wire) / median(took) / 1e6, seconds / median(took)
            found[f"decode_mb_per_s_{name}_{size}"], found[f"realtime_factor_{name}_{size}"] = mb_per_s, factor
            row += [mb_per_s, round(factor)]
        rows.append(row)
    print(table(["device", "bytes/s", "MB/s (4096)", "x real time", "MB/s (64)", "x real time"], rows))
    found["decode_mb_per_s"] = found["decode_mb_per_s_ekd_4096"]
    found["realtime_factor_bitalino_1khz"] = found["realtime_factor_bitalino_1khz_64"]
    return found


def recordings() -> Iterator[tuple[str, bytes, float, StreamOptions, str]]:
    """Return (name, bytes, seconds of signal, decoder, format) of each device."""
    recorded = StreamOptions(live=False)
    at_1khz = StreamOptions(Fraction(1000), live=False)
    yield "ekd", *sent(find_format("ekd").emulate(waveform(128, 1200))), recorded, "ekd"
    yield "csv", *sent(CsvEmulator(waveform(128, 1200))), recorded, "csv"
    yield "csv_millis", *sent(CsvEmulator(waveform(128, 1200), millis=True)), recorded, "csv"
    yield "grove", *sent(find_format("grove").emulate(waveform(128, 2400))), recorded, "grove"
    yield "shimmer3", *sent(find_format("shimmer3").emulate(waveform(128, 1200)), START), recorded, "shimmer3"
    for name, start in (("bitalino_1khz", start_command(2)), ("bitalino_1khz_6ch", ALL_INPUTS)):
        emulator = find_format("bitalino").emulate(waveform(1000, 300))
        yield name, *sent(emulator, rate_command(1000) + start), at_1khz, "bitalino"


def waveform(rate_hz: int, seconds: int) -> Waveform:
    blocks = simulated_blocks(float(rate_hz), 3, rate_hz)
    return Waveform((next(blocks) for _ in range(seconds)), Fraction(rate_hz), "uS", 13)


def sent(emulator: Emulator, start: bytes = b"") -> tuple[bytes, float]:
    """All bytes that it sends once started, and the seconds of signal."""
    emulator.receive(start)
    bursts = list(emulator.bursts())
    return b"".join(burst.data for burst in bursts), bursts[-1].samples / float(emulator.rate_hz)


def lines(rounds: int) -> dict[str, float]:
    """Speed of reading lines, as a multiple of a loop of readline and float."""
    values = np.round(5 + np.cumsum(np.random.default_rng(0).normal(0, 0.01, LINES)) % 3, 4)
    wire = b"# rate_hz: 128\r\n# unit: uS\r\n" + b"".join(b"%.4f\r\n" % value for value in values)
    took: dict[str, list[float]] = {"readline": [], "ekd": []}
    for turn in range(rounds + 1):
        for name, read in (("readline", by_readline), ("ekd", by_device))[:: 1 if turn % 2 else -1]:
            with terminal(wire) as path:
                began = time.perf_counter()
                got = read(path)
                took[name].append(time.perf_counter() - began)
            assert got == LINES, (name, got)
    took = {name: times[1:] for name, times in took.items()}
    speedup = ratio(took["readline"], took["ekd"])
    per_s = {name: LINES / median(times) for name, times in took.items()}
    print()
    print(table(["lines through a pseudo-terminal", "lines/s"], [[name, round(n)] for name, n in per_s.items()]))
    print(f"{speedup:.1f} times a loop of readline and float")
    return {"speedup_vs_readline": speedup, **{f"lines_per_s_{name}": n for name, n in per_s.items()}}


def by_readline(path: str) -> int:
    values = []
    with serial.Serial(path, 115200, timeout=1) as port:
        while len(values) < LINES:
            line = port.readline()
            if not line.startswith(b"#"):
                values.append(float(line))
    return len(values)


def by_device(path: str) -> int:
    with open_device(path, "csv") as device:
        return sum(len(block.values) for block in device.blocks(lambda: device.counts.samples >= LINES))


@contextmanager
def terminal(wire: bytes) -> Iterator[str]:
    """Open a device node that delivers these bytes as fast as they are read."""
    master, slave = os.openpty()
    tty.setraw(slave)

    def write_all() -> None:
        time.sleep(0.2)  # pyserial flushes its input at open
        left = memoryview(wire)
        while left:
            left = left[os.write(master, left[:4096]) :]

    writer = threading.Thread(target=write_all)
    writer.start()
    try:
        yield os.ttyname(slave)
    finally:
        writer.join()
        os.close(slave)
        os.close(master)


def live(seconds: float, devices: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Measure the CPU share of `ekd-edge` on each device."""
    model = untrained_student("edge")
    found: dict[str, float] = {}
    for name, extra in devices.items():
        simulate = [sys.executable, "-m", "firmware_bridge.cli.main", "simulate", "--format", name]
        rate = ["--rate", "1000"] if name == "bitalino" else []
        with subprocess.Popen([*simulate, *rate], stdout=subprocess.PIPE, text=True) as device:
            assert device.stdout is not None
            port = device.stdout.readline().strip()
            command = [sys.executable, "-m", "ekd_edge.cli.main", "--port", port, "--model", str(model), "--json"]
            command += ["--format", name, *extra]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as edge:
                time.sleep(6)
                before, began = cpu_s(edge.pid), time.perf_counter()
                time.sleep(seconds)
                found[f"cpu_share_{name}"] = (cpu_s(edge.pid) - before) / (time.perf_counter() - began)
                assert edge.poll() is None, name
                edge.terminate()
            device.terminate()
    print()
    shares = [[name, f"{100 * found[f'cpu_share_{name}']:.1f} %"] for name in devices]
    print(table(["ekd-edge live", "of one core"], shares))
    return found


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
