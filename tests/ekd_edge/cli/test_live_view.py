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
        [EDGE, *map(str, arguments)], stdout=terminal.slave, stderr=terminal.slave, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_one_sensor_is_one_line_below_the_messages(model_path: Path) -> None:
    with Terminal(120, 24) as terminal, edge_on(terminal, "--port", "sim://?speed=8", "--model", model_path) as process:
        terminal.read_until(lambda shown: "signal 100%" in "".join(shown))
        terminal.resize(40, 20)
        terminal.read_until(lambda shown: " µS" in shown[-1] and len(shown[-1]) < 40)
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 130
        terminal.show()
        banner, reading, line, last = terminal.screen.everything
        assert banner.startswith(f"ekd-edge: {model_path} ")
        assert reading.startswith("ekd-edge: reading sim://?speed=8: ")
        assert " µS" in line
        assert len(line) < 40
        assert " samples received, " in last


def test_two_sensors_are_a_table_with_the_messages_below_it(model_path: Path) -> None:
    ports = ["sim://?speed=8&seed=1", "sim://?speed=8&seed=2"]
    with (
        Terminal(120, 24) as terminal,
        edge_on(terminal, "--port", ports[0], "--port", ports[1], "--model", model_path) as process,
    ):
        terminal.read_until(lambda shown: len(shown) == 6 and "signal" in shown[0] + shown[1])
        assert [row.split(" ")[0] for row in terminal.screen.shown] == [*ports, "[synthetic", "", *["ekd-edge:"] * 2]
        terminal.resize(60, 4)
        terminal.read_until(lambda shown: len(shown) == 4 and "1 more" in shown[1])
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 130
        terminal.show()
        banner, *readings, first, second, mark, last = terminal.screen.everything
        assert banner.startswith(f"ekd-edge: {model_path} ")
        assert [reading.split(": ")[1] for reading in readings] == [f"reading {port}" for port in ports]
        assert first.startswith(ports[0][:19])
        assert second.startswith(ports[1][:19])
        assert mark == "[synthetic data]"
        assert " samples received, " in last
        assert terminal.screen.other is None
