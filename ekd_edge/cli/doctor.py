"""`ekd-edge doctor`: checks whether ekd-edge can run on this machine, and for weeks, with a remedy for each problem.

Exit status: 0 where nothing needs to be done, 1 for a warning, 2 for a fault. Runs where numpy does not load.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ekd_edge.cli.arguments import add_model_arguments
from ekd_edge.diagnostics.doctor import (
    Finding,
    check_clock,
    check_disk,
    check_machine,
)
from ekd_edge.diagnostics.isolated import isolated_findings
from ekd_edge.diagnostics.machine import Machine, read_condition, read_machine
from firmware_bridge.cli.arguments import path_argument
from firmware_bridge.cli.port_options import parse_port
from firmware_bridge.dependencies import version_line
from firmware_bridge.printable import printable

__all__ = ["add_arguments", "check_all", "run"]

_STATUS = {"ok": 0, "note": 0, "warning": 1, "fault": 2}
_MARKS = {"ok": "ok", "note": "note", "warning": "WARNING", "fault": "FAULT"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ekd-edge doctor`."""
    parser.description = (
        "Check whether ekd-edge can run on this machine, and for weeks; print a remedy for each problem."
    )
    parser.epilog = "Exit status: 0 where nothing needs to be done, 1 for a warning, 2 for a fault."
    parser.add_argument(
        "--port", metavar="PORT", type=parse_port, action="append", help="a port to check, as for ekd-edge"
    )
    add_model_arguments(parser)
    parser.add_argument(
        "--record", metavar="DIR", type=path_argument, help="the folder for recordings (default: this one)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Check and print; see the module's docstring for the exit status."""
    machine = read_machine()
    findings = tuple(check_all(options, machine))
    if options.json:
        worst = max((finding.level for finding in findings), key=_STATUS.__getitem__)
        about = {"ekd": version_line(), "machine": machine.to_json(), "worst": worst}
        print(json.dumps({**about, "findings": [finding.to_json() for finding in findings]}, indent=1))
    else:
        print("\n".join(printable(line) for line in _lines(findings)))
    return max(_STATUS[finding.level] for finding in findings)


def check_all(options: argparse.Namespace, machine: Machine) -> Iterator[Finding]:
    """All findings. Packages, model and ports are checked in another process: this one loads no numpy."""
    yield from check_machine(machine, read_condition())
    yield from isolated_findings(options.model, options.trust, [port.url for port in options.port or ()])
    yield from check_clock()
    yield from check_disk(options.record or Path())


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    yield version_line()
    for finding in findings:
        yield f"  {_MARKS[finding.level]:<7}  {finding.name:<14}  {finding.message}"
        if finding.remedy:
            yield f"  {'':<7}  {'':<14}  -> {finding.remedy}"
    counts = {level: sum(finding.level == level for finding in findings) for level in ("fault", "warning")}
    counted = [f"{count} {level}{'s' * (count > 1)}" for level, count in counts.items() if count]
    yield ", ".join(counted) or "nothing needs to be done"
