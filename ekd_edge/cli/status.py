"""`ekd-edge status`: the running processes of this user and their problems."""

import argparse
import json
import time
from typing import Any

from ekd_edge.errors import EkdError
from ekd_edge.service.status_file import alive, read_statuses, status_folder

__all__ = ["add_arguments", "problems_of", "run"]

_STALE_S = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `status`."""
    parser.description = "Show the running ekd-edge processes of this user and their problems."
    parser.epilog = "Exit status: 0 without problems, 1 with problems, 2 where no process runs."
    parser.add_argument("--json", action="store_true", help="one JSON object a process")


def run(options: argparse.Namespace) -> int:
    """Run the command: 0 without problems, 1 with problems, 2 where no process runs."""
    statuses = read_statuses(status_folder())
    if not statuses:
        raise EkdError("no ekd-edge process of this user reads a sensor")
    now = time.time()
    found = [(status, problems_of(status, now)) for status in statuses]
    for status, problems in found:
        if options.json:
            print(json.dumps({**status, "problems": problems}))
        else:
            print("\n".join(_lines(status, problems, now)))
    return int(any(problems for _, problems in found))


def problems_of(status: dict[str, Any], now_s: float) -> list[str]:
    """The problems of one process, a sentence each.

    status: of `read_statuses`. now_s: seconds since 1970.
    """
    age = _ago(now_s - status["updated"])
    if not alive(status):
        return [f"process exited without cleaning up {age} ago (killed, or the machine restarted)"]
    problems = []
    if now_s - status["updated"] > _STALE_S:
        problems.append(f"process has not updated its status for {age}: it is stopped or stuck")
    if status["model"]["replaced"]:
        problems.append(f"{status['model']['file']} was replaced: restart ekd-edge to run the new one")
    if status["dropped_predictions"]:
        problems.append(f"stdout reader is too slow: {status['dropped_predictions']} predictions were dropped")
    for port in status["ports"]:
        if not port["connected"]:
            problems.append(f"{port['port']}: {port['message'] or 'not connected'}")
        recording, last = port["recording"], port["last"]
        if recording is not None and recording["failing"]:
            problems.append(f"{port['port']}: recording fails: {recording['failing']}")
        if recording is not None and recording["lost"]:
            problems.append(f"{port['port']}: {recording['lost']} samples could not be recorded")
        if port["connected"] and last is not None and last["reason"]:
            problems.append(f"{port['port']}: {last['reason']}")
    return problems


def _lines(status: dict[str, Any], problems: list[str], now_s: float) -> list[str]:
    lines = [
        f"ekd-edge {status['pid']}, running {status['model']['file']}, started {_ago(now_s - status['started'])} ago"
    ]
    for port in status["ports"]:
        about = port["about"] or port["port"]
        state = f"{port['rate_hz']:.6g} Hz" if port["rate_hz"] is not None else "not connected"
        clock = "" if port["clock_ppm"] is None else f", clock {port['clock_ppm']:+.0f} ppm"
        lines.append(f"  {about}: {state}{clock}, for {_ago(now_s - port['since_s'])}, opened {port['openings']} times")
        lines.append(
            f"    {port['samples']} samples, {port['dropped']} dropped, {port['rejected']} rejected; "
            f"{port['predicted']} predicted, {port['withheld']} withheld"
        )
        if (recording := port["recording"]) is not None:
            lines.append(f"    {recording['recorded']} recorded, {recording['lost']} lost, now in {recording['file']}")
        if (last := port["last"]) is not None:
            labels = ", ".join(f"{name} {label or '-'}" for name, label in last["labels"].items())
            lines.append(f"    last: {labels}, signal {last['quality']:.0%}, {last['latency_ms']:.1f} ms")
    return lines + [f"  ! {problem}" for problem in problems]


def _ago(seconds: float) -> str:
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 4 * 86400 else f"{seconds / 86400:.0f} days"
