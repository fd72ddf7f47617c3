"""ekd-edge as a real process whose stdout is a terminal."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.edge_command import EDGE
from tests.helpers.screen import Terminal


@contextmanager
def edge_on(terminal: Terminal, *arguments: object) -> Iterator["subprocess.Popen[bytes]"]:
    environment = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [EDGE, *map(str, arguments)], stdout=terminal.slave, stderr=subprocess.DEVNULL, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_one_sensor_is_one_line_that_follows_the_size_of_the_terminal(model_path: Path) -> None:
    with Terminal(120, 24) as terminal, edge_on(terminal, "--port", "sim://?speed=8", "--model", model_path) as process:
        terminal.read_until(lambda shown: "signal 100%" in "".join(shown))
        assert len(terminal.screen.everything) == 1
        terminal.resize(40, 10)
        terminal.read_until(lambda shown: len(shown) == 1 and len(shown[0]) < 40)
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 130
        (line,) = terminal.show()
        assert len(line) < 40


def test_two_sensors_are_a_table_that_follows_the_size_of_the_terminal(model_path: Path) -> None:
    ports = ["sim://?speed=8&seed=1", "sim://?speed=8&seed=2"]
    with (
        Terminal(120, 24) as terminal,
        edge_on(terminal, "--port", ports[0], "--port", ports[1], "--model", model_path) as process,
    ):
        terminal.read_until(lambda shown: len(shown) == 3 and "signal" in shown[0] + shown[1])
        assert [row.split()[0] for row in terminal.screen.shown] == [*ports, "[synthetic"]
        terminal.resize(60, 2)
        terminal.read_until(lambda shown: len(shown) == 2 and "1 more" in shown[1])
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 130
        terminal.show()
        first, last = terminal.screen.everything
        assert first.startswith(ports[0][:19])
        assert last == "1 more [synthetic data]"
        assert terminal.screen.other is None
