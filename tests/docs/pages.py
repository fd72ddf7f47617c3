"""The fenced blocks of the Markdown pages, and how to run them.

A block of shell commands (lines that start with `$ `) or of Python has a marker in the line above it:

    <!-- test: run -->
    <!-- test: skip, REASON -->        one of `REASONS`
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.paths import ROOT

__all__ = ["PAGES", "REASONS", "Block", "blocks_of", "reduced", "run_block"]

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

REASONS = {
    "installs packages from a network": "tests/pi installs the wheel and the bundle on emulated systems",
    "downloads wheels": "tests/pi makes and installs bundles",
    "needs a device": "tests/usb and tests/faults run the same commands on emulated devices",
    "needs a wearer at rest": "tests/ekd_edge/pipeline/test_baseline.py runs calibrate on a simulated sensor",
    "needs a device and recordings": "the README's blocks run both commands on simulated ones",
    "needs your recordings": "tests/test_examples.py trains on a folder of recordings",
    "needs licensed datasets": "tests/ekd_train/data reads files of their format",
    "needs a licensed dataset": "tests/ekd_train/data/test_interop.py runs the bridges",
    "needs trained models": "tests/ekd_edge/diagnostics/test_bench.py runs bench",
    "hours of training on a licensed dataset": "tests/ekd_train/sweeps runs sweeps",
    "minutes of training": "tests/ekd_train/sweeps runs sweeps",
    "minutes of installation and training": "README.md runs the same steps on less data; nothing here runs make demo",
    "output of make demo": "README.md runs the same steps on less data; nothing here compares figures",
    "run in the tutorial": "docs/tutorial and the README run the same command",
    "run in the first tutorial": "docs/tutorial/first-prediction.md runs the same command",
    "run in the tests of ekd-export": "tests/ekd_export/convert runs both",
    "runs until it is ended": "tests/firmware_bridge/cli/test_main.py runs simulate",
    "lines of several machines": "tests/ekd_edge/diagnostics/test_doctor.py runs doctor",
    "writes to the home folder": "the block before it prints the same script",
}
"""Reasons for not running a block here, each with the test that runs it instead, if any."""

_MARKER = re.compile(r"<!-- test: (run|skip, (?P<reason>.+)) -->")

_SMALL = "synthetic?subjects=12&trials=6&eeg_channels=2"
_SHORT = "teacher.epochs=1", "student.epochs=1"
_REDUCED = (
    # Simulated sensors that end, in place of endless ones and of real ones.
    (r"(?<!')sim://(?![?'])|/dev/ttyUSB0", "'sim://?speed=0&seconds=40'"),
    (r"'sim://\?(?!\S*seconds=)([^']+)'", r"'sim://?\1&speed=0&seconds=40'"),
    (r"speed=(8|10)", "speed=0"),
    # Less data and fewer epochs; an allowance of two points cannot be shown then.
    (
        r"^ekd-train --preset smoke",
        f"ekd-train --preset smoke --threads 1 --data '{_SMALL}' " + " ".join(f"--set {each}" for each in _SHORT),
    ),
    (r"--max-drop 0\.0[12]", "--max-drop 0.5"),
    (r'load_preset\("smoke"\)', f'load_preset("smoke").override({list(_SHORT)})'),
    (r'data="synthetic[^"]*"', f'data="{_SMALL}"'),
    (r"max_drop=0\.0[12]", "max_drop=0.5"),
)
"""Patterns in commands and programs, and the replacements that shorten them or simulate a device."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. language: after the fence. marked: whether it has a marker. reason: of a skip, or None."""

    page: Path
    line: int
    language: str
    text: str
    marked: bool
    reason: str | None

    @property
    def executable(self) -> bool:
        """Whether it holds Python or shell commands."""
        return self.language == "python" or bool(self.commands) or "$ " in self.text.partition("\n")[0]

    @property
    def commands(self) -> list[str]:
        """The shell commands, without their prompt, their continuation lines joined."""
        found: list[str] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append(line[2:])
            elif line.startswith("> ") and found:
                found[-1] += "\n" + line[2:]
        return found


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    blocks, lines, above, opened = [], [], "", None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.startswith("```"):
            if opened is None:
                above = line
            else:
                lines.append(line)
        elif opened is None:
            opened, lines = (number, line.removeprefix("```").strip()), []
        else:
            marker = _MARKER.fullmatch(above.strip())
            reason = None if marker is None else marker["reason"]
            blocks.append(Block(page, opened[0], opened[1], "\n".join(lines), marker is not None, reason))
            opened, above = None, ""
    return blocks


def reduced(text: str) -> str:
    """The command or program, shortened and with simulated devices by `_REDUCED`."""
    for pattern, replacement in _REDUCED:
        text = re.sub(pattern, replacement, text)
    return text


def run_block(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """Run a block in a folder; an AssertionError names the command that failed, with its output."""
    programs = [block.text] if block.language == "python" else block.commands
    for program in programs:
        command = [sys.executable, "-c"] if block.language == "python" else ["bash", "-euo", "pipefail", "-c"]
        done = subprocess.run(
            [*command, reduced(program)], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
        )
        where = f"{block.page.relative_to(ROOT)}:{block.line}"
        assert done.returncode == 0, f"{where}: {reduced(program)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
