import io

import pytest
from rich.console import Console

from ekd_train.sweeps.cell import Cell
from ekd_train.sweeps.jobs import Event
from ekd_train.sweeps.progress import SweepReporter

CELL = Cell("arousal", 0, 3)


def _tell(terminal: bool) -> str:
    file = io.StringIO()
    with SweepReporter(Console(file=file, force_terminal=terminal, width=100, color_system=None)) as reporter:
        reporter.begin(8, 2)
        reporter.event(Event("started", CELL, "worker 1", 1))
        for epoch in range(1, 30):
            reporter.event(Event("progress", CELL, "worker 1", 1, f"teacher epoch {epoch}/30"))
        reporter.result(Event("progress", CELL, "worker 1", 1), "teacher")
        reporter.event(Event("noted", CELL, "worker 1", 1, "2 sessions [of 5] are left out"))
        reporter.event(Event("lost", CELL, "worker 1", 1, "its worker was ended by [SIGKILL]"))
        reporter.event(Event("failed", Cell("arousal", 0, 4), "worker 2", 3, "gave up"))
    return file.getvalue()


def test_reporter_prints_plain_lines_without_a_terminal() -> None:
    assert _tell(terminal=False).splitlines() == [
        "2 of 8 results are finished already",
        "[2/8] arousal-seed0-fold03  started (worker 1)",
        "[3/8] arousal-seed0-fold03  teacher done",
        "2 sessions [of 5] are left out",
        "[3/8] arousal-seed0-fold03  lost in attempt 1, restarting: its worker was ended by [SIGKILL]",
        "[3/8] arousal-seed0-fold04  failed: gave up",
    ]


def test_reporter_shows_a_bar_and_one_line_per_worker_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown = _tell(terminal=True)
    assert "3/8" in shown
    assert "arousal-seed0-fold03  teacher done" in shown
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100, color_system=None)
    with SweepReporter(console) as reporter:
        reporter.begin(8, 0)
        reporter.event(Event("progress", CELL, "worker 1", 1, "teacher epoch 3/30"))
        reporter.event(Event("progress", Cell("valence", 1, 0), "worker 2", 1, "student epoch 9/30"))
    assert "worker 1: arousal-seed0-fold03  teacher epoch 3/30" in file.getvalue()
    assert "worker 2: valence-seed1-fold00  student epoch 9/30" in file.getvalue()
