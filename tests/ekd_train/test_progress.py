"""Progress output while a run reads its data."""

import io

import pytest
from rich.console import Console

from ekd_train import progress
from ekd_train.progress import TerminalReporter


def _reads(console: Console) -> str:
    with TerminalReporter(console) as reporter:
        for done in range(1, 5):
            reporter.reading(done, 32)
        reporter.start("teacher", 3, 0, 10)
        reporter.notify("2 sessions [of 5] are left out")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_reporter_limits_lines_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _reads(Console(file=io.StringIO())).splitlines() == [
        "reading subjects 1/32",
        "2 sessions [of 5] are left out",
    ]
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    assert _reads(Console(file=io.StringIO())).count("reading subjects") == 4


def test_reporter_replaces_the_bar_of_the_previous_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown = _reads(Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None))
    assert "reading subjects 1/32" in shown
    last = shown.rpartition("are left out")[2]
    assert "teacher" in last
    assert "reading" not in last
