"""`ekd-edge status`: how the running processes fare, and what needs looking after."""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from ekd_edge.cli.arguments import status_parser
from ekd_edge.errors import EkdError
from ekd_edge.service.status_file import alive, read_statuses, status_folder

__all__ = ["main", "troubles"]

_STALE_S = 15.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0 where all is well, 1 where something is not, 2 where nothing runs."""
    options = status_parser().parse_args(argv)
    try:
        statuses = read_statuses(status_folder())
    except EkdError as error:
        print(f"ekd-edge status: {error}", file=sys.stderr)
        return 2
    if not statuses:
        print("ekd-edge status: no ekd-edge of this user reads a sensor", file=sys.stderr)
        return 2
    now = time.time()
    worst = 0
    for told in statuses:
        wrong = troubles(told, now)
        worst = max(worst, bool(wrong))
        if options.json:
            print(json.dumps({**told, "troubles": wrong}))
        else:
            print("\n".join(_lines(told, wrong, now)))
    return int(worst)


def troubles(told: dict[str, Any], now_s: float) -> list[str]:
    """What needs looking after, in sentences."""
    if not alive(told):
        return [f"it ended without a word {_ago(now_s - told['updated'])}: it was killed, or the machine restarted"]
    wrong = []
    if now_s - told["updated"] > _STALE_S:
        wrong.append(f"it has not said anything for {_ago(now_s - told['updated'])}: it is stopped or stuck")
    if told["model"]["replaced"]:
        wrong.append(f"{told['model']['file']} was replaced: restart ekd-edge to run the new one")
    if told["unwritten"]:
        wrong.append(f"{told['unwritten']} predictions were not printed, for nobody took them")
    for port in told["ports"]:
        if not port["connected"]:
            wrong.append(f"{port['port']}: {port['message'] or 'not connected'}")
        recording, last = port["recording"], port["last"]
        if recording is not None and recording["failing"]:
            wrong.append(f"{port['port']}: recording fails: {recording['failing']}")
        if recording is not None and recording["lost"]:
            wrong.append(f"{port['port']}: {recording['lost']} samples could not be recorded")
        if port["connected"] and last is not None and last["reason"]:
            wrong.append(f"{port['port']}: {last['reason']}")
    return wrong


def _lines(told: dict[str, Any], wrong: list[str], now_s: float) -> list[str]:
    lines = [f"ekd-edge {told['pid']}, running {told['model']['file']}, started {_ago(now_s - told['started'])} ago"]
    for port in told["ports"]:
        about = port["about"] or port["port"]
        state = f"{port['rate_hz']:.6g} Hz" if port["rate_hz"] is not None else "not connected"
        clock = "" if port["clock_ppm"] is None else f", clock {port['clock_ppm']:+.0f} ppm"
        lines.append(f"  {about}: {state}{clock}, for {_ago(now_s - port['since_s'])}, opened {port['openings']} times")
        lines.append(
            f"    {port['samples']} samples, {port['dropped']} dropped, {port['rejected']} rejected; "
            f"{port['predicted']} predicted, {port['withheld']} withheld"
        )
        if (recording := port["recording"]) is not None:
            lines.append(f"    {recording['recorded']} recorded, {recording['lost']} not, now in {recording['file']}")
        if (last := port["last"]) is not None:
            labels = ", ".join(f"{name} {label or '-'}" for name, label in last["labels"].items())
            lines.append(f"    last: {labels}, signal {last['quality']:.0%}, {last['latency_ms']:.1f} ms")
    return lines + [f"  ! {one}" for one in wrong]


def _ago(seconds: float) -> str:
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 4 * 86400 else f"{seconds / 86400:.0f} days"
