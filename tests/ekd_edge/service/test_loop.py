"""The selector loop: several ports in one thread, each failing without the others."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ekd_edge.errors import EkdError, PortError
from ekd_edge.model.file import ModelFile, load_model_file
from ekd_edge.model.interpreter import Classifier, open_classifier
from ekd_edge.pipeline.stream import SensorPipeline
from ekd_edge.service.loop import SensorLoop, Timer
from ekd_edge.service.session import SensorSession
from ekd_edge.sinks.jsonl import JsonLinesSink
from ekd_edge.sinks.sink_group import SinkGroup
from ekd_edge.sources import reconnect
from ekd_edge.sources.reconnect import Connection, ReconnectPolicy
from ekd_edge.sources.sensor import SensorOptions
from firmware_bridge.devices.ekd.emulator import EkdEmulator, frame_bursts, linear_hello
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.synthesis import simulated_blocks

HZ = 128


def person(seconds: int, speed: float = 0) -> Player:
    return Player(EkdEmulator(Waveform(islice(simulated_blocks(128.0, 1, 128), seconds), Fraction(HZ))), speed)


def frames(seconds: int) -> list[bytes]:
    """One second of frames each, as the firmware sends them."""
    blocks = islice(simulated_blocks(float(HZ), 1, 8), seconds * 16)
    counts = [(block / 50 * 65536).astype(np.uint16) for block in blocks]
    bursts = [burst.data for burst in frame_bursts(counts, linear_hello(Fraction(HZ)))]
    return [b"".join(bursts[at : at + 17]) for at in range(0, len(bursts), 17)]


class Run:
    """A loop over ports in this process, with what it printed and notified."""

    def __init__(self, model: ModelFile, ports: list[str], **policy: bool) -> None:
        self.stream = StringIO()
        self.messages: list[str] = []
        self.output = SinkGroup([JsonLinesSink(self.stream)], self.stream)
        self.classifier: Classifier = open_classifier(model)
        self.sessions = [
            SensorSession(
                port,
                Connection(port, SensorOptions("ekd"), self.messages.append, ReconnectPolicy(**policy)),
                SensorPipeline(model.manifest, source=port),
                self.output,
            )
            for port in ports
        ]

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        for session in self.sessions:
            session.connection.close()

    def loop(self, stop: Callable[[], bool], timers: tuple[Timer, ...] = ()) -> None:
        end_s = time.monotonic() + 300
        with SensorLoop(self.sessions, self.classifier, self.output, self.messages.append, timers) as loop:
            loop.run(stop, end_s)


@pytest.fixture
def model(model_path: Path) -> ModelFile:
    return load_model_file(model_path)


@contextmanager
def server(send: Callable[[socket.socket], None]) -> Iterator[str]:
    """A TCP server that treats each connection with `send`; its pyserial URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    send(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"socket://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_socket_is_read_like_a_node(model: ModelFile) -> None:
    """100 s of frames; pyserial's own socket port would hand them over one byte at a time."""
    with (
        server(lambda connection: connection.sendall(b"".join(frames(100)))) as url,
        Run(model, [url], reconnect=False) as run,
        pytest.raises(PortError, match="went away"),
    ):
        run.loop(lambda: False)
    assert run.sessions[0].connection.counts.samples == 12_800
    assert run.sessions[0].predicted == 94


@pytest.mark.parametrize("fault", [ValueError("a defect"), MemoryError(), RecursionError("too deep")])
def test_fault_of_any_type_ends_one_port_with_its_name(model: ModelFile, fault: Exception, tmp_path: Path) -> None:
    broken, sound = tmp_path / "broken", tmp_path / "sound"

    def defect(*_: Any) -> Any:
        raise fault

    with (
        PtyDevice(person(30), broken),
        PtyDevice(person(30), sound),
        Run(model, [str(broken), str(sound)], reconnect=False) as run,
    ):
        run.sessions[0].pipeline.hold = defect  # type: ignore[method-assign]
        with pytest.raises(PortError, match="sound went away"):
            run.loop(lambda: False)
    start, end = f"{broken} ended by a defect of ekd ({type(fault).__name__}: ", "; the other ports continue"
    assert any(message.startswith(start) and message.endswith(end) for message in run.messages)
    assert run.sessions[0].failure is not None
    assert run.sessions[1].predicted == 24


def test_last_port_that_fails_ends_the_loop_with_its_sentence(model: ModelFile, tmp_path: Path) -> None:
    port = tmp_path / "broken"
    with PtyDevice(person(30), port), Run(model, [str(port)], reconnect=False) as run:

        def defect(*_: Any) -> Any:
            raise ZeroDivisionError("division by zero")

        run.sessions[0].connection.step = defect  # type: ignore[method-assign]
        with pytest.raises(EkdError, match="broken ended by a defect of ekd"):
            run.loop(lambda: False)


def test_opening_that_blocks_delays_no_other_port(
    model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Bluetooth port that is out of reach blocks in `open` for many seconds."""
    gate = threading.Event()
    opened = reconnect.open_sensor

    def slow(port: str, options: SensorOptions) -> Any:
        if port.endswith("blocked"):
            gate.wait(300)
            raise PortError(f"{port} cannot be reached: check it")
        return opened(port, options)

    monkeypatch.setattr(reconnect, "open_sensor", slow)
    with PtyDevice(person(30), tmp_path / "sound"):
        ports = [str(tmp_path / "blocked"), str(tmp_path / "sound")]
        with Run(model, ports, reconnect=True, wait=True) as run:
            try:
                run.loop(lambda: run.sessions[1].predicted == 24)
            finally:
                gate.set()
            assert not run.sessions[0].connection.connected


def test_wake_begins_a_turn_at_once(model: ModelFile, tmp_path: Path) -> None:
    """Nothing is due for a second at least: the device is silent."""
    stopping = threading.Event()
    with (
        PtyDevice(person(30, speed=1e-6), tmp_path / "s"),
        Run(model, [str(tmp_path / "s")]) as run,
        SensorLoop(run.sessions, run.classifier, run.output, run.messages.append) as loop,
    ):
        thread = threading.Thread(target=loop.run, args=(stopping.is_set,))
        thread.start()
        stopping.set()
        loop.wake()
        thread.join(300)
        assert not thread.is_alive()


def test_timer_acts_while_ports_are_read(model: ModelFile, tmp_path: Path) -> None:
    acted: list[float] = []
    with PtyDevice(person(20), tmp_path / "s"), Run(model, [str(tmp_path / "s")]) as run:
        run.loop(lambda: len(acted) >= 3, (Timer(0.01, lambda: acted.append(time.monotonic())),))
    assert len(acted) == 3


def test_unplugged_port_is_noticed_before_its_next_read(model: ModelFile, tmp_path: Path) -> None:
    """The selector reports a hang-up although no bytes are awaited."""
    with Run(model, [], reconnect=True) as run:
        device = PtyDevice(person(3000, speed=1), tmp_path / "s")
        with device:
            run.sessions.append(
                SensorSession(
                    "s",
                    Connection(str(tmp_path / "s"), SensorOptions("ekd"), run.messages.append),
                    SensorPipeline(load_model_file(model.path).manifest, source="s"),
                    run.output,
                )
            )
            run.loop(lambda: run.sessions[0].samples > HZ)
        run.loop(lambda: not run.sessions[0].connection.connected)
        assert "went away" in run.messages[-1]
        with PtyDevice(person(30), tmp_path / "s"):
            run.loop(lambda: run.sessions[0].predicted > 0)
