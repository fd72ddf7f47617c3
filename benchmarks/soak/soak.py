"""Seven simulated days of one sensor through the real `ekd-edge`, with faults on a schedule.

Every sample is numbered: received samples must equal those recorded and counted as lost, none may be invented, and
neither memory nor open files may grow. The device sends as fast as it is read.
"""

import argparse
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

from benchmarks.bench import table, write
from ekd_edge.model.find import find_model
from firmware_bridge.emulation.line_faults import Fault
from firmware_bridge.emulation.pty import PtyDevice
from tests.helpers.numbered_sensor import HZ, Edge, check, numbered_device, until

DAY_S = 86400
WARM = 0.1


def schedule(seconds: int, every_s: int) -> list[Fault]:
    """Return one fault per hour, of each kind in turn; from the middle on one bit in ten million flips."""
    kinds = cycle([Fault("unplug", 0.2), Fault("reset"), Fault("stall", 0.5)])
    faults = [
        Fault(fault.kind, fault.value, float(at_s))
        for at_s, fault in zip(range(every_s, seconds, every_s), kinds, strict=False)
    ]
    return [*faults, Fault("flip", 1e-7, seconds / 2)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--model", type=Path, default=find_model("demo"), help="default: the demo model of the package")
    options = parser.parse_args()
    seconds = int(options.days * DAY_S)
    faults = schedule(seconds, 3600)
    began = time.monotonic()
    memory: list[tuple[float, int, int]] = []
    with tempfile.TemporaryDirectory(prefix="ekd-soak-") as name:
        folder = Path(name)
        device = PtyDevice(numbered_device(seconds, 0, faults), folder / "sensor")
        arguments = ("--port", folder / "sensor", "--json", "--model", options.model, "--record", folder / "r")
        with device, Edge(folder / "edge", *arguments) as edge:
            until(lambda: edge.samples > 0, 60)
            while not device.wait(1):
                if edge.process.poll() is not None:
                    print(edge.err, file=sys.stderr)
                    return 1
                share = edge.samples / (seconds * HZ)
                memory.append((share, edge.rss_kb, edge.descriptors))
                if sys.stderr.isatty():
                    print(
                        f"\r{100 * share:5.1f} %  {edge.rss_kb / 1024:.1f} MB\x1b[K",
                        end="",
                        file=sys.stderr,
                        flush=True,
                    )
            status = edge.stop()
            received, dropped = edge.received
            recorded, lost = edge.recorded
            sentences = len(edge.err.splitlines())
            printed = len(edge.out)
        wall_s = time.monotonic() - began
        found = check(folder / "r")
    warm = [rss_kb for share, rss_kb, _ in memory if share > WARM]
    files = [descriptors for share, _, descriptors in memory if share > WARM]
    half = len(files) // 2
    figures = {
        "days": options.days,
        "faults": len(faults),
        "samples_received": received,
        "samples_recorded": found.samples,
        "samples_counted_lost": lost,
        "samples_invented": found.wrong,
        "samples_dropped_by_the_wire": dropped,
        "gap_samples_in_recording": found.missing,
        "segments": found.segments,
        "predictions": printed,
        "predictions_recorded": len(found.predictions),
        "sentences": sentences,
        "rss_growth_kb": (warm[-1] - warm[0]) if warm else 0,
        "rss_mb": round(warm[-1] / 1024, 1) if warm else 0,
        # An open port takes five files. The maximum of the second half is compared with that of the first.
        "descriptor_growth": (max(files[half:]) - max(files[:half])) if half else 0,
        "wall_s": round(wall_s, 1),
        "times_real_time": round(seconds / wall_s),
    }
    write("soak", figures)
    print(table(["soak", ""], [[key, str(value)] for key, value in figures.items()]))
    exact = received == found.samples + lost and recorded == found.samples and found.wrong == 0
    flat = figures["rss_growth_kb"] < 5 * 1024 and figures["descriptor_growth"] <= 0
    if status != 0 or not exact or not flat:
        print("FAILED: see above", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
