"""Running ekd's commands as a user would, with the Python environment that runs the demo."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

__all__ = ["full_command", "run_command"]


def full_command(command: Sequence[object]) -> list[str]:
    """The command with the path of its program next to the running Python, where it is there."""
    program, *rest = map(str, command)
    path = Path(sys.executable).parent / program
    return [str(path) if path.exists() else program, *rest]


def run_command(*command: object, stdout: IO[str] | None = None) -> int:
    """Run a command to its end; returns its exit status."""
    return subprocess.run(full_command(command), check=False, stdout=stdout).returncode
