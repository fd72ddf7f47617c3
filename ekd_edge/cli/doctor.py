"""`ekd-edge doctor`: one screen of what may keep ekd-edge from running well here, and what to do about it.

Exit status, by the worst that was found: 0 where nothing needs doing, 1 for a warning, 2 for a fault.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ekd_edge.diagnostics.doctor import (
    Finding,
    examine_clock,
    examine_disk,
    examine_machine,
    examine_model,
    examine_packages,
)
from ekd_edge.diagnostics.machine import Machine, read_condition, read_machine
from firmware_bridge.dependencies import version_line

__all__ = ["add_arguments", "examine", "run"]

_STATUS = {"ok": 0, "note": 0, "warning": 1, "fault": 2}
_MARKS = {"ok": "ok", "note": "note", "warning": "WARNING", "fault": "FAULT"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `doctor`."""
    parser.description = "Check what may keep ekd-edge from running on this machine, and say what to do about it."
    parser.epilog = "Exit status: 0 where nothing needs doing, 1 for a warning, 2 for a fault."
    parser.add_argument("--port", metavar="PORT", action="append", help="a port to examine, as for ekd-edge")
    parser.add_argument(
        "--model",
        metavar="FILE",
        type=Path,
        help="a model file, or demo (default: $EKD_MODEL, else the newest export here)",
    )
    parser.add_argument("--trust", metavar="PUBKEY", type=Path, action="append", help="as for ekd-edge")
    parser.add_argument("--record", metavar="DIR", type=Path, help="where recordings will go (default: here)")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(options: argparse.Namespace) -> int:
    """Run the command; see the module's docstring for the exit status."""
    machine = read_machine()
    findings = tuple(examine(options, machine))
    status = max(_STATUS[finding.level] for finding in findings)
    if options.json:
        worst = max((finding.level for finding in findings), key=_STATUS.__getitem__)
        about = {"ekd": version_line(), "machine": machine.to_json(), "worst": worst}
        print(json.dumps({**about, "findings": [finding.to_json() for finding in findings]}, indent=1))
    else:
        print("\n".join(_lines(findings)))
    return status


def examine(options: argparse.Namespace, machine: Machine) -> Iterator[Finding]:
    """All findings; what needs numpy is left out where that does not load."""
    yield from examine_machine(machine, read_condition())
    packages = list(examine_packages())
    yield from packages
    if not any(finding.level == "fault" for finding in packages):
        from ekd_edge.diagnostics.doctor_ports import examine_meddlers, examine_ports

        yield from examine_model(options.model, options.trust)
        yield from examine_ports(options.port or ())
        yield from examine_meddlers()
    yield from examine_clock()
    yield from examine_disk(options.record or Path())


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    yield version_line()
    for finding in findings:
        yield f"  {_MARKS[finding.level]:<7}  {finding.name:<14}  {finding.message}"
        if finding.remedy:
            yield f"  {'':<7}  {'':<14}  -> {finding.remedy}"
    counts = [sum(finding.level == level for finding in findings) for level in ("fault", "warning")]
    if not any(counts):
        yield "nothing needs doing"
        return
    totals = [
        f"{count} {word}{'s' * (count > 1)}" for count, word in zip(counts, ("fault", "warning"), strict=True) if count
    ]
    yield ", ".join(totals)
