"""The contract of all device formats. Each format is a subclass that defines the sent and the expected readings."""

import time
import tracemalloc
from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from firmware_bridge.devices.bitalino import decoder as bitalino
from firmware_bridge.devices.csv.emulator import CsvEmulator
from firmware_bridge.devices.detect import open_decoder
from firmware_bridge.devices.emulator import Emulator
from firmware_bridge.devices.grove.decoder import UNIT as GROVE_UNIT
from firmware_bridge.devices.registry import BUILT_IN, ReceivedBytes, find_format, installed_formats
from firmware_bridge.devices.shimmer3 import decoder as shimmer3
from firmware_bridge.devices.shimmer3.packets import from_microsiemens, to_microsiemens
from firmware_bridge.devices.stream import RawBlock, StreamDecoder, StreamOptions
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.line_faults import Fault, damage, misread
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.emulation.script import ScriptedEmulator
from firmware_bridge.errors import FormatError
from firmware_bridge.serial_port.device import open_device
from firmware_bridge.synthesis import simulated_blocks
from firmware_bridge.units import Unit
from tests.helpers.load import LOAD_S

Values = NDArray[np.float64]


@cache
def person(rate_hz: Fraction, seconds: float, seed: int = 1) -> Values:
    """Skin conductance of a simulated person in uS."""
    n = round(seconds * float(rate_hz))
    return np.concatenate(list(islice(simulated_blocks(float(rate_hz), seed, 100), n // 100 + 1)))[:n]


def feed(decoder: StreamDecoder, wire: bytes, size: int = 4096) -> list[RawBlock]:
    return [block for at in range(0, len(wire), size) for block in decoder.feed(wire[at : at + size])]


def joined(blocks: Iterable[RawBlock]) -> Values:
    return np.concatenate([block.values for block in blocks])


def places(blocks: Iterable[RawBlock]) -> dict[tuple[int, int], float]:
    return {(b.segment, b.first_index + i): value for b in blocks for i, value in enumerate(b.values.tolist())}


@cache
def wire_of(contract: "type[FormatContract]") -> bytes:
    """The bytes that the device sends for half a minute of a simulated person."""
    return contract().record(contract().signal)


class HostClock:
    """A clock that the test advances."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def exchange(player: Player, decoder: StreamDecoder, clock: HostClock, seconds: float) -> list[RawBlock]:
    """Run host and device by one clock in steps of 10 ms and return the decoded blocks."""
    blocks: list[RawBlock] = []
    began_s = clock.now_s
    while clock.now_s - began_s < seconds and not player.at_end:
        if request := decoder.take_request():
            player.receive(request, clock.now_s)
        blocks += decoder.feed(player.take(clock.now_s))
        clock.now_s += 0.01
    return blocks


class FormatContract:
    """A subclass defines the name, the rates, the options of a recording and the expected readings."""

    name: ClassVar[str]
    rate_hz: ClassVar[Fraction] = Fraction(128)
    live_rate_hz: ClassVar[Fraction | None] = None
    recorded: ClassVar[StreamOptions] = StreamOptions(live=False)
    start: ClassVar[bytes] = b""
    lost_at_a_port: ClassVar[int] = 0
    """Number of first readings that are ignored at a port because they may be incomplete."""
    misfits: ClassVar[frozenset[str]] = frozenset()
    """Other formats whose recordings this format's decoder accepts."""

    def expected(self, microsiemens: Values) -> Values:
        raise NotImplementedError

    def harm(self, wire: bytes, random: np.random.Generator) -> bytes:
        """Damage the bytes in a way that this format can detect."""
        return damage(wire, [Fault("drop", 0.002), Fault("flip", 0.0003)], random)

    def emulator(self, microsiemens: Values) -> Emulator:
        return find_format(self.name).emulate(Waveform([microsiemens], self.rate_hz))

    def record(self, microsiemens: Values) -> bytes:
        emulator = self.emulator(microsiemens)
        emulator.receive(self.start)
        return b"".join(burst.data for burst in emulator.bursts())

    @property
    def signal(self) -> Values:
        return person(self.rate_hz, 30)

    @property
    def wire(self) -> bytes:
        return wire_of(type(self))

    def test_recording_gives_the_sent_readings(self) -> None:
        decoder = open_decoder(self.name, self.recorded)
        blocks = feed(decoder, self.wire) + decoder.finish()
        assert np.array_equal(joined(blocks), self.expected(self.signal))
        assert {block.rate_hz for block in blocks} == {self.rate_hz}
        assert all(not block.values.flags.writeable for block in blocks)
        assert (decoder.counts.samples, decoder.counts.dropped, decoder.counts.rejected) == (len(self.signal), 0, 0)
        assert places(blocks).keys() == {(0, i) for i in range(len(self.signal))}

    @settings(suppress_health_check=[HealthCheck.differing_executors])
    @given(cuts=st.lists(st.integers(0, 2000), max_size=12))
    def test_readings_are_independent_of_the_pieces(self, cuts: list[int]) -> None:
        wire = self.wire[:2000]
        whole, pieces = (open_decoder(self.name, self.recorded) for _ in range(2))
        expected = feed(whole, wire) + whole.finish()
        edges = [0, *sorted(cuts), len(wire)]
        got = [b for a, z in pairwise(edges) for b in pieces.feed(wire[a:z])] + pieces.finish()
        assert places(got) == places(expected)
        assert pieces.counts == whole.counts

    def test_device_at_a_port_is_read_completely_and_stopped(self) -> None:
        emulator = self.emulator(self.signal)
        options = StreamOptions(self.live_rate_hz)
        with (
            PtyDevice(Player(emulator, speed=0, stay=True)) as device,
            open_device(device.path, self.name, options=options) as sensor,
        ):
            blocks: list[RawBlock] = []
            for block in sensor.blocks(lambda: sensor.counts.samples >= len(self.signal) - self.lost_at_a_port - 1):
                blocks.append(block)
            sensor.close()
            time.sleep(0.2)
            assert not self.start or emulator.run == 0
        got = joined(blocks)
        expected = self.expected(self.signal)[self.lost_at_a_port :]
        assert len(expected) - len(got) in (0, 1)  # the last frame is accepted only with the next one
        assert np.array_equal(got, expected[: len(got)])
        assert (sensor.counts.dropped, sensor.counts.rejected) == (0, 0)

    def test_auto_detects_the_format_within_three_seconds_without_loss(self) -> None:
        with PtyDevice(Player(self.emulator(self.signal))) as device:
            began = time.monotonic()
            with open_device(device.path) as sensor:
                first = next(iter(sensor.blocks()))
                assert time.monotonic() - began < 3.5 + LOAD_S
                assert sensor.format_name == self.name
                assert first.first_index == 0
                assert sensor.counts.dropped == 0

    def test_reset_starts_a_segment(self) -> None:
        clock = HostClock()
        player = Player(self.emulator(person(self.rate_hz, 40)), faults=[Fault("reset", at_s=12.0)])
        decoder = open_decoder(self.name, StreamOptions(self.live_rate_hz, clock=clock))
        blocks = exchange(player, decoder, clock, 25.0)
        self.check_reset(blocks)

    def check_reset(self, blocks: list[RawBlock]) -> None:
        assert {block.segment for block in blocks} == {0, 1}
        later = joined(block for block in blocks if block.segment == 1)
        assert len(later) > 5 * self.rate_hz

    @pytest.mark.parametrize("seed", range(4))
    def test_damaged_stream_gives_no_wrong_reading(self, seed: int) -> None:
        sent = self.expected(self.signal)
        random = np.random.default_rng(seed)
        decoder = open_decoder(self.name, self.recorded)
        blocks = feed(decoder, self.harm(self.record(self.signal), random), 700) + decoder.finish()
        got = places(blocks)
        assert len(got) > 0.5 * len(sent)
        wrong = [key for key, value in got.items() if key[0] != 0 or key[1] >= len(sent) or sent[key[1]] != value]
        assert wrong == []
        counts = decoder.counts
        assert counts.samples == len(got)
        assert counts.dropped == max(index for _, index in got) + 1 - len(got) - min(index for _, index in got)
        assert counts.rejected > 0

    @pytest.mark.parametrize("live", [True, False])
    def test_garbage_gives_one_sentence_and_needs_bounded_memory(self, live: bool) -> None:
        random = np.random.default_rng(7)
        garbage = {
            "noise": random.bytes(3_000_000),
            "zeros": bytes(3_000_000),
            "a line without end": b"7" * 3_000_000,
            "text": b"hello world, how are you\r\n" * 100_000,
        }
        for kind, wire in garbage.items():
            decoder = open_decoder(self.name, StreamOptions(self.recorded.rate_hz, live=live))
            tracemalloc.start()
            with suppress(FormatError):
                feed(decoder, wire, 1000)
                decoder.finish()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            reason = decoder.failure_reason()
            assert reason is not None, kind
            assert "\n" not in reason
            assert decoder.counts.samples == 0, kind
            assert peak < 4_000_000, kind

    @pytest.mark.parametrize("other", BUILT_IN)
    def test_bytes_of_another_device_are_refused(self, other: str) -> None:
        if other == self.name or other in self.misfits:
            return
        contract = next(c for c in CONTRACTS if c.name == other)()
        wire = contract.record(person(contract.rate_hz, 60))
        decoder = open_decoder(self.name, StreamOptions(self.recorded.rate_hz, live=False))
        with pytest.raises(FormatError):
            _ = feed(decoder, wire), decoder.finish()
        assert decoder.counts.samples == 0

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("live", [True, False])
    def test_bytes_are_recognised_only_by_their_own_format(self, live: bool, seed: int) -> None:
        level = np.full(600, 5.0)
        signals = [person(self.rate_hz, 20, seed), level, level * 3, np.zeros(600)]
        for signal in signals:
            wire = self.record(signal)
            for skipped in (0, 1, 2, 3, 5, 17, 101):
                for size in (200, 1000, 8000):
                    received = ReceivedBytes(wire[skipped : skipped + size], live)
                    recognised = {format.name for format in installed_formats() if format.recognises(received)}
                    assert recognised <= {self.recognised_as()}
            assert find_format(self.recognised_as()).recognises(ReceivedBytes(wire, live))

    def recognised_as(self) -> str:
        """The name of the format that recognises the bytes of a recording."""
        return self.name

    @pytest.mark.parametrize("bauds", [(115200, 9600), (9600, 115200), (115200, 57600), (57600, 115200)])
    def test_bytes_at_a_wrong_baud_rate_are_recognised_by_no_format(self, bauds: tuple[int, int]) -> None:
        received = misread(self.wire[:3000], *bauds)
        for at in (0, 7):
            assert not [f.name for f in installed_formats() if f.recognises(ReceivedBytes(received[at:], live=True))]


class TestEkd(FormatContract):
    name = "ekd"

    def expected(self, microsiemens: Values) -> Values:
        return Unit("adc", 16, 50.0).to_readings(microsiemens)


class TestCsv(FormatContract):
    name = "csv"
    misfits = frozenset({"grove"})

    def expected(self, microsiemens: Values) -> Values:
        return np.array([float(f"{value:.10g}") for value in microsiemens])

    def harm(self, wire: bytes, random: np.random.Generator) -> bytes:
        return other_characters(wire, random)

    def check_reset(self, blocks: list[RawBlock]) -> None:
        """Lines with only a value do not show a reset, and the comments before them are ignored."""
        assert {block.segment for block in blocks} == {0}
        assert len(joined(blocks)) > 20 * self.rate_hz


class TestCsvWithMillis(TestCsv):
    misfits = frozenset({"grove"})

    def emulator(self, microsiemens: Values) -> Emulator:
        return CsvEmulator(Waveform([microsiemens], self.rate_hz), millis=True)

    def check_reset(self, blocks: list[RawBlock]) -> None:
        FormatContract.check_reset(self, blocks)


class TestGrove(FormatContract):
    name = "grove"
    rate_hz = Fraction(39, 2)
    lost_at_a_port = 1
    misfits = frozenset({"csv"})

    def expected(self, microsiemens: Values) -> Values:
        return GROVE_UNIT.to_readings(microsiemens)

    def harm(self, wire: bytes, random: np.random.Generator) -> bytes:
        return other_characters(wire, random)

    def recognised_as(self) -> str:
        """The bytes could be those of any sketch; only the line rate at a port identifies the format."""
        return "csv"

    def check_reset(self, blocks: list[RawBlock]) -> None:
        assert len(joined(blocks)) > 20 * self.rate_hz


class TestShimmer3(FormatContract):
    name = "shimmer3"
    start = shimmer3.START

    def expected(self, microsiemens: Values) -> Values:
        return to_microsiemens(from_microsiemens(microsiemens))

    def harm(self, wire: bytes, random: np.random.Generator) -> bytes:
        """Packets have no checksum: lost bytes are detected, but flipped bits may not be."""
        return damage(wire, [Fault("drop", 0.002)], random)


class TestBitalino(FormatContract):
    name = "bitalino"
    rate_hz = live_rate_hz = Fraction(100)
    recorded = StreamOptions(Fraction(100), live=False)
    start = bitalino.rate_command(100) + bitalino.start_command(2)

    def expected(self, microsiemens: Values) -> Values:
        return Unit("adc", 10).to_readings(microsiemens)


class TestBitalinoAt1kHz(TestBitalino):
    rate_hz = live_rate_hz = Fraction(1000)
    recorded = StreamOptions(Fraction(1000), live=False)
    start = bitalino.rate_command(1000) + bitalino.start_command(2)

    def test_auto_detects_the_format_within_three_seconds_without_loss(self) -> None:
        """The rate is given."""
        options = StreamOptions(Fraction(1000))
        player = Player(self.emulator(self.signal))
        with PtyDevice(player) as device, open_device(device.path, options=options) as sensor:
            assert next(iter(sensor.blocks())).rate_hz == 1000
            assert sensor.format_name == self.name


CONTRACTS: list[type[FormatContract]] = [TestEkd, TestCsv, TestGrove, TestShimmer3, TestBitalino]


def other_characters(wire: bytes, random: np.random.Generator) -> bytes:
    """Replace some characters by one that is not part of a number."""
    harmed = bytearray(wire)
    for at in random.integers(100, len(wire), 40).tolist():
        if harmed[at] not in b"\r\n#":
            harmed[at] = 0xA7
    return bytes(harmed)


def test_every_format_has_a_contract() -> None:
    assert {contract.name for contract in CONTRACTS} == set(BUILT_IN)


def test_text_at_the_first_baud_rate_prevents_another_baud_rate(tmp_path: Path) -> None:
    """The sketch prints a greeting, calibrates for a while, and then sends lines."""
    greeting = b"# A sensor of mine, please wait while it warms up, it takes a moment only ...\r\n"
    lines = b"".join(b"%d,%d\r\n" % (10 * i, 500 + i) for i in range(400))
    from firmware_bridge.devices.emulator import Burst

    script = ScriptedEmulator([Burst(0, greeting), Burst(1500, b"millis,adc\r\n" + lines)])
    with PtyDevice(Player(script)) as device, open_device(device.path) as sensor:
        assert next(iter(sensor.blocks())).values[0] == 500
        assert sensor.format_name == "csv"
