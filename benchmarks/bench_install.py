"""Size of an installation on a device, and time from the start of `ekd-edge` to its first read.

Size: all files of the wheels of `ekd[pi]` for each system of a Raspberry Pi, unpacked on its disk, without the
bytecode that Python adds when it first runs them. Start: seconds from the start of the process to its first read from a
device node that has data waiting, next to `python -c "import numpy, ai_edge_litert.interpreter"`, in
turns; memory: the peak of the import, and of `ekd-edge` once it predicts. The model is an untrained int8
student of the kind `edge`.

    python -m benchmarks.bench_install [--rounds 15]
"""

import fcntl
import os
import subprocess
import sys
import tempfile
import termios
import time
import zipfile
from pathlib import Path
from statistics import median

from benchmarks.bench import options_of, ratio, table, write
from benchmarks.bench_replay import untrained_student
from benchmarks.edge_feeding import waveform
from benchmarks.edge_process import EDGE, rss_mb
from ekd_edge.deploy.pi_os import PI_OSES, PiOs
from ekd_edge.deploy.wheels import Wheel, gather_wheels, own_wheel
from firmware_bridge.devices.ekd.emulator import EkdEmulator
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice

IMPORTS = "import numpy, ai_edge_litert.interpreter"
PEAK = f"{IMPORTS}, resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


def main() -> None:
    parser = options_of(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    figures: dict[str, str | int | float] = {}
    # A smoke run downloads nothing.
    for number, target in () if options.smoke else PI_OSES.items():
        figures |= {f"size_mb_{number}": size(target)}
    figures |= start(untrained_student("edge"), 1 if options.smoke else options.rounds)
    print(f"\n{write('install', figures, options.smoke)}")


def size(target: PiOs) -> float:
    """Return the megabytes of all packages, and print them, largest first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "wheels").mkdir()
        wheels = gather_wheels(target, own_wheel(folder), folder / "wheels")
        sizes = {f"{each.name} {each.version}": _unpacked_mb(each) for each in wheels if each.name != "pip"}
    rows = sorted(sizes.items(), key=lambda row: -row[1])
    print(table([target.title, "MB"], [*rows, ("together", sum(sizes.values()))]), end="\n\n")
    return sum(sizes.values())


def _unpacked_mb(wheel: Wheel) -> float:
    with zipfile.ZipFile(wheel.path) as archive:
        return sum(entry.file_size for entry in archive.infolist()) / 1e6


def start(model: Path, rounds: int) -> dict[str, float]:
    """Measure seconds and megabytes of the start, side by side."""
    imports, reads, ready = [], [], []
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", IMPORTS], check=True)
        imports.append(time.perf_counter() - began)
        read_s, memory_mb = first_read(model)
        reads.append(read_s)
        ready.append(memory_mb)
    peak_kb = int(subprocess.run([sys.executable, "-c", PEAK], check=True, capture_output=True, text=True).stdout)
    slower, larger = ratio(reads, imports), median(ready) / (peak_kb / 1024)
    rows = [
        ["only the imports", median(imports), peak_kb / 1024],
        ["ekd-edge to its first read", median(reads), median(ready)],
        ["ratio", slower, larger],
    ]
    print(table(["start", "s", "MB"], rows))
    return {
        "import_s": median(imports),
        "first_read_s": median(reads),
        "start_ratio": slower,
        "import_mb": peak_kb / 1024,
        "running_mb": median(ready),
        "memory_ratio": larger,
    }


def first_read(model: Path) -> tuple[float, float]:
    """Return seconds from the start to the first read, and megabytes after the first prediction."""
    with PtyDevice(Player(EkdEmulator(waveform(900)), speed=0)) as device:
        node = os.open(device.path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        most = waiting(node)
        began = time.perf_counter()
        command = [EDGE, "--port", device.path, "--json", "--model", str(model)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            while (now := waiting(node)) >= most:
                most = now
                time.sleep(0.0005)
            read_s = time.perf_counter() - began
            os.close(node)
            assert process.stdout is not None
            process.stdout.readline()
            memory_mb = rss_mb(process.pid)
            process.kill()
        return read_s, memory_mb


def waiting(node: int) -> int:
    """Return the number of bytes that arrived at the device node and were not read."""
    return int.from_bytes(fcntl.ioctl(node, termios.FIONREAD, bytes(4)), sys.byteorder)


if __name__ == "__main__":
    main()
