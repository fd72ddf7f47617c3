"""`ekd-edge status`: the running ekd-edge processes of this user, and their problems.

Exit status: 0 where there is no problem, 1 where there is one, 2 where no process runs.
"""

import argparse
import json
import sys
import time
from typing import Any

from ekd_edge.errors import EkdError
from ekd_edge.formatting import percent
from ekd_edge.service.status_file import alive, read_statuses, status_folder
from firmware_bridge.printable import printable

__all__ = ["add_arguments", "find_problems", "run"]

_STALE_S = 15.0
_ODD_CONTENT = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError)
"""Errors of formatting a status whose keys or values are not those of this version."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ekd-edge status`."""
    parser.epilog = "Exit status: 0 where there is no problem, 1 where there is one, 2 where no process runs."
    parser.add_argument("--json", action="store_true", help="print one JSON object for each process")


def run(options: argparse.Namespace) -> int:
    """Print the status of every process; see the module's docstring for the exit status."""
    statuses = read_statuses(status_folder())
    now_s = time.time()
    skipped = list(statuses.skipped)
    shown, any_problem = 0, False
    for status in statuses.found:
        try:
            problems = find_problems(status, now_s)
            text = json.dumps({**status, "problems": problems}) if options.json else _text(status, problems, now_s)
        except _ODD_CONTENT:
            skipped.append(f"{status['file']} is not a status file of this version of ekd-edge: remove it")
            continue
        print(text)
        shown += 1
        any_problem = any_problem or bool(problems)
    for sentence in skipped:
        print(f"ekd-edge status: skipped: {printable(sentence)}", file=sys.stderr)
    if not shown:
        raise EkdError("no ekd-edge process of this user is running: start one with `ekd-edge --port PORT`")
    return int(any_problem)


def find_problems(status: dict[str, Any], now_s: float) -> list[str]:
    """The problems of a process, one sentence each.

    Args:
        status: as `read_statuses` returns it.
        now_s: seconds since 1970.

    Returns:
        Sentences; empty where there is no problem.
    """
    silent_s = now_s - status["updated"]
    if not alive(status):
        return [f"process exited without cleaning up {_duration(silent_s)} ago (killed or rebooted)"]
    problems = []
    if silent_s > _STALE_S:
        problems.append(f"process has not updated its status for {_duration(silent_s)}: it is stopped or stuck")
    if status["model"]["replaced"]:
        problems.append(
            f"{status['model']['file']} was replaced: send SIGHUP to ekd-edge, or restart it, to run the new one"
        )
    if dropped := status["dropped_predictions"]:
        problems.append(f"stdout reader is too slow: {dropped} predictions dropped (oldest first)")
    for worker in status.get("workers", {}).values():
        if worker["message"] is not None:
            problems.append(f"{worker['message']} ({worker['faults']} faults so far)")
    for port in status["ports"]:
        before = f"{port['port']}: "
        problems += [f"{_name(port)}: {problem.removeprefix(before)}" for problem in _port_problems(port)]
    return list(dict.fromkeys(problems))


def _name(port: dict[str, Any]) -> str:
    """The name of a sensor, else its port."""
    return str(port.get("name") or port["port"])


def _port_problems(port: dict[str, Any]) -> list[str]:
    problems = []
    recording, last = port["recording"], port["last"]
    if not port["connected"]:
        problems.append(port["message"] or "not connected")
    if (lasting := port.get("problem")) is not None:
        problems.append(lasting)
    if recording is not None and recording["failing"]:
        problems.append(f"recording fails: {recording['failing']}")
    if recording is not None and recording["lost"]:
        problems.append(f"{recording['lost']} samples could not be recorded")
    if recording is not None and recording.get("lost_predictions"):
        problems.append(f"{recording['lost_predictions']} predictions could not be recorded")
    if port["connected"] and last is not None and last["reason"] and None in last["labels"].values():
        problems.append(last["reason"])
    if (model_input := port.get("input")) is not None and model_input["problem"]:
        problems.append(model_input["problem"])
    return problems


def _text(status: dict[str, Any], problems: list[str], now_s: float) -> str:
    return "\n".join(printable(line) for line in _lines(status, problems, now_s))


def _lines(status: dict[str, Any], problems: list[str], now_s: float) -> list[str]:
    started = _duration(now_s - status["started"])
    lines = [f"ekd-edge {status['pid']}, running {status['model']['file']}, started {started} ago"]
    for port in status["ports"]:
        about = port["about"] or port["port"]
        if _name(port) != port["port"]:
            about = f"{_name(port)}, {about}"
        state = f"{port['rate_hz']:.6g} Hz" if port["rate_hz"] is not None else "not connected"
        clock = "" if port["clock_ppm"] is None else f", clock {port['clock_ppm']:+.0f} ppm"
        since = _duration(now_s - port["since_s"])
        lines.append(f"  {about}: {state}{clock}, for {since}, opened {port['openings']} times")
        lines.append(
            f"    {port['samples']} samples, {port['dropped']} dropped, {port['rejected']} rejected; "
            f"{port['predicted']} predicted, {port['withheld']} withheld"
        )
        if (recording := port["recording"]) is not None:
            lines.append(f"    {recording['recorded']} recorded, {recording['lost']} not, now in {recording['file']}")
        if (model_input := port.get("input")) is not None and model_input["hour_samples"]:
            lines.append(f"    input: {_input_line(model_input)}")
        if (last := port["last"]) is not None:
            labels = ", ".join(f"{name} {label or '-'}" for name, label in last["labels"].items())
            lines.append(f"    last: {labels}, signal {last['quality']:.0%}, {last['latency_ms']:.1f} ms")
    for name, worker in status.get("workers", {}).items():
        if worker["faults"]:
            lines.append(f"  {name}: {worker['faults']} faults so far")
    return lines + [f"  ! {problem}" for problem in problems]


def _input_line(model_input: dict[str, Any]) -> str:
    share = model_input["hour_clipped"] / model_input["hour_samples"]
    (low, high), (lowest, highest) = model_input["calibrated"], model_input["hour_seen"]
    return (
        f"{percent(share)} of the last hour's samples are outside the range that the model was calibrated on "
        f"({low:.2f} to {high:.2f}; seen {lowest:.2f} to {highest:.2f})"
    )


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 4 * 86400 else f"{seconds / 86400:.0f} days"
