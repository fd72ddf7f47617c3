"""Functions of all benchmarks: interleaved timing, a description of the machine, a table and a JSON file.

Run a benchmark as a module, `python -m benchmarks.bench_NAME`. This module imports only numpy.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["interleave", "machine", "options_of", "ratio", "table", "write"]

ROOT = Path(__file__).resolve().parents[1]


def options_of(description: str) -> argparse.ArgumentParser:
    """Return a parser with --smoke, the option of all benchmarks."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="run at the smallest size, to check that it runs; its figures are meaningless",
    )
    return parser


def interleave(cases: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """Seconds of every call, `rounds` per case; the cases take turns, so that other load affects all equally."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(warmup):
        for call in cases.values():
            call()
    for turn in range(rounds):
        for name in list(cases) if turn % 2 == 0 else list(cases)[::-1]:
            start = time.perf_counter()
            cases[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(base: Sequence[float], other: Sequence[float]) -> float:
    """Return the median over rounds of base / other, the speedup of `other`."""
    return statistics.median(b / o for b, o in zip(base, other, strict=True))


def machine() -> dict[str, str | int | float]:
    """Return a flat description of this machine: keys machine.cpu, .cores, .load_1min, .memory_gib, .system, ..."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [line for line in info.read_text().splitlines() if line.lower().startswith(("model name", "model\t"))]
        cpu = named[-1].split(":", 1)[1].strip() if named else cpu
    found: dict[str, str | int | float] = {
        "machine.cpu": cpu,
        "machine.cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "machine.load_1min": round(os.getloadavg()[0], 2),
        "machine.memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "machine.system": platform.platform(),
        "machine.python": platform.python_version(),
    }
    for package in ("numpy", "scipy", "torch", "ai_edge_litert"):
        version = getattr(sys.modules.get(package), "__version__", None)
        if version is not None:
            found[f"machine.{package}"] = str(version)
    return found


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a text table. The first column is left-aligned, the others right-aligned; floats have three digits."""
    cells = [list(header)] + [[f"{c:.3g}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    lines = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def write(name: str, figures: Mapping[str, str | int | float], smoke: bool = False) -> Path:
    """Write the figures (flat keys) and the machine's description to build/bench/NAME.json and return the path.

    Args:
        name: of the benchmark.
        figures: flat keys and their values.
        smoke: write to build/bench/smoke/NAME.json, so that real figures are kept.
    """
    path = ROOT / "build" / "bench" / ("smoke" if smoke else "") / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**figures, **machine()}, indent=2) + "\n")
    return path
