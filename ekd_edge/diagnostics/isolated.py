"""Checks that load numpy, the TFLite runtime and a model, in a process of their own.

A package that was built for another processor can end Python by a signal (illegal instruction). The checks of
`ekd-edge doctor` then report this, and the other checks are made.

    python -m ekd_edge.diagnostics.isolated '{"model": null, "trust": null, "ports": []}'
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ekd_edge.diagnostics.doctor import Finding, check_model, check_packages

__all__ = ["isolated_findings", "main"]

_MOST_S: Final = 120.0


def isolated_findings(model: Path | None, trust: Sequence[Path] | None, ports: Sequence[str]) -> Iterator[Finding]:
    """The findings about packages, model and ports; a fault where the process of the checks was ended.

    Args:
        model: the file to check; None for the default one.
        trust: keys that it must be signed by; None for those of $EKD_TRUST.
        ports: the ports to check.

    Yields:
        Findings in the order of the checks.
    """
    about = {"model": _text(model), "trust": None if trust is None else [*map(str, trust)], "ports": [*ports]}
    # -P: a file of the present folder must not take the place of a package.
    command = [sys.executable, "-P", "-m", "ekd_edge.diagnostics.isolated", json.dumps(about)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_MOST_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"did not end within {_MOST_S:g} s" if isinstance(error, subprocess.TimeoutExpired) else str(error)
        yield Finding("packages", "fault", f"the check of packages and model failed: it {reason}", "check the disk")
        return
    for line in done.stdout.splitlines():
        yield Finding(**json.loads(line))
    if done.returncode < 0:
        yield _ended_by(signal.Signals(-done.returncode))
    elif done.returncode > 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        yield Finding("packages", "fault", f"the check of packages and model failed: {last}", "report it")


def main(argv: Sequence[str]) -> int:
    """Print each finding as a line of JSON, as soon as it is made."""
    about = json.loads(argv[0])
    model = None if about["model"] is None else Path(about["model"])
    trust = None if about["trust"] is None else [Path(each) for each in about["trust"]]
    for finding in _findings(model, trust, about["ports"]):
        print(json.dumps(finding.to_json()), flush=True)
    return 0


def _findings(model: Path | None, trust: Sequence[Path] | None, ports: Sequence[str]) -> Iterator[Finding]:
    """All findings; those that need numpy are left out where it does not load."""
    packages = list(check_packages())
    yield from packages
    if any(finding.level == "fault" for finding in packages):
        return
    from ekd_edge.diagnostics.doctor_ports import check_interfering_programs, check_ports

    yield from check_model(model, trust)
    yield from check_ports(ports)
    yield from check_interfering_programs()


def _ended_by(number: signal.Signals) -> Finding:
    remedy = "install the packages again in an empty virtual environment, from wheels for this processor"
    return Finding(
        "packages", "fault", f"{number.name} ended Python while the package or model after the last line ran", remedy
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else os.fspath(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
