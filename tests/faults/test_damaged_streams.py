"""Damaged bytes of every device format: no exception but an EkdError, no reading that was not sent, bounded work."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from ekd_edge.errors import FormatError, SignalError
from ekd_edge.sources.readings import ReadingConverter
from ekd_edge.sources.stated import SensorOptions
from firmware_bridge.devices.bitalino.decoder import rate_command, start_command
from firmware_bridge.devices.csv.emulator import CsvEmulator
from firmware_bridge.devices.detect import open_decoder
from firmware_bridge.devices.registry import find_format
from firmware_bridge.devices.shimmer3.decoder import INQUIRY, START
from firmware_bridge.devices.stream import RawBlock, StreamDecoder, StreamOptions
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.units import Unit
from tests.faults.conftest import Row

SAMPLES, HZ = 1500, Fraction(100)
CLEAN_HEAD, CLEAN_TAIL = 0.1, 0.35
"""Shares of the bytes that are not damaged, where the rest of the stream must be read."""
ODD = [
    b"1e308",
    b"-1e308",
    b"1e-308",
    b"9" * 400,
    b"nan",
    b"inf",
    b"\n# rate_hz: 1/" + b"0" * 300 + b"1\n",
    b"\n# rate_hz: 1e99999999\n",
    b"\n# adc_bits: 99\n",
    b"\nmillis,gsr\n",
    b",",
    b"\n",
    b"\r",
    b"\0",
    b"\0\0\0\0",
    b"\xff" * 40,
    b"e999999999",
    b"-",
    b"\n-1e308,5\n1e308,5\n0,5\n1.5e308,5\n",
]

STREAMS = ["ekd", "csv", "csv with millis", "grove", "shimmer3", "bitalino"]


def recorded(stream: str) -> bytes:
    """The bytes that a device sends for distinct readings."""
    rate_hz = Fraction(39, 2) if stream == "grove" else HZ
    waveform = Waveform([np.linspace(1.0, 9.0, SAMPLES)], rate_hz)
    if stream == "csv with millis":
        emulator = CsvEmulator(waveform, millis=True)
    else:
        emulator = find_format(stream).emulate(waveform)  # type: ignore[assignment]
    if stream == "bitalino":
        emulator.receive(rate_command(100) + start_command(2))
    head = emulator.receive(INQUIRY) + emulator.receive(START) if stream == "shimmer3" else b""
    return head + b"".join(burst.data for burst in emulator.bursts())


def damaged(wire: bytes, random: np.random.Generator, density: float) -> bytes:
    """Bits are flipped, and bytes inserted, repeated, removed, cut off, or replaced by those of another place."""
    found = bytearray(wire)
    for _ in range(1 + int(random.exponential(density * len(wire)))):
        at = int(random.integers(0, max(1, len(found))))
        size = int(random.integers(1, 1 + int(random.choice([1, 4, 40, 400]))))
        match int(random.integers(0, 8)):
            case 0 | 1 if found:
                found[at % len(found)] ^= 1 << int(random.integers(0, 8))
            case 2:
                found[at:at] = random.bytes(size)
            case 3:
                del found[at : at + size]
            case 4:
                found[at:at] = found[at : at + size] * int(random.integers(1, 4))
            case 5:
                found[at:at] = ODD[int(random.integers(0, len(ODD)))]
            case 6:
                begin = int(random.integers(0, max(1, len(wire))))
                found[at : at + size] = wire[begin : begin + size]
            case _:
                found[at:at] = b"0123456789"[: 1 + size % 10]
    return bytes(found)


def read(
    decoder: StreamDecoder, wire: bytes, random: np.random.Generator, clock: list[float]
) -> tuple[list[RawBlock], str]:
    """The blocks of bytes that arrive in pieces, converted to microsiemens, and the message of an error."""
    blocks: list[RawBlock] = []
    convert = ReadingConverter(SensorOptions(default_unit=Unit("uS")), "/dev/x", "--port", live=True)
    at = 0
    try:
        while at < len(wire):
            size = int(random.integers(1, 2000))
            clock[0] += size / 1000
            decoder.take_request()
            for block in decoder.feed(wire[at : at + size]):
                blocks.append(block)
                assert all(np.isfinite(one.values).all() for one in convert([block]))
            at += size
        for block in decoder.finish():
            blocks.append(block)
            assert all(np.isfinite(one.values).all() for one in convert([block]))
    except (FormatError, SignalError) as error:
        return blocks, str(error)
    return blocks, ""


def values_of(blocks: list[RawBlock]) -> NDArray[np.float64]:
    return np.concatenate([block.values for block in blocks]) if blocks else np.empty(0)


def check_blocks(blocks: list[RawBlock], decoder: StreamDecoder, error: str) -> None:
    """Places that grow within each segment, counts that fit the blocks, an error of one printable sentence."""
    end = (-1, 0)
    for block in blocks:
        assert block.first_index >= 0
        assert (block.segment, block.first_index) >= end
        end = block.segment, block.first_index + len(block.values)
    if not error:
        assert decoder.counts.samples == len(values_of(blocks))
    assert len(error) < 400
    assert error.isprintable() or not error


def lines_values(wire: bytes) -> set[float]:
    """The last numbers of all lines, parsed by Python, without the checks of the decoder."""
    found = set()
    for line in wire.split(b"\n"):
        for field in line.split(b","):
            try:
                found.add(float(field.strip()))
            except ValueError:
                continue
    return found


def decoder_for(stream: str, clock: list[float], live: bool) -> StreamDecoder:
    name = stream.split(maxsplit=1)[0]
    rate_hz = HZ if name == "bitalino" else None
    return open_decoder(name, StreamOptions(rate_hz, live=live, clock=lambda: clock[0]))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stream", STREAMS)
def test_damaged_bytes_give_no_reading_that_was_not_sent(
    stream: str, many: Callable[[int, int], int], row: Row
) -> None:
    wire = recorded(stream)
    sent, error = read(decoder_for(stream, [0.0], live=False), wire, np.random.default_rng(0), [0.0])
    assert not error
    readings = values_of(sent)
    known = set(readings.tolist())
    head, tail = int(CLEAN_HEAD * len(wire)), int((1 - CLEAN_TAIL) * len(wire))
    last = readings[-int(0.2 * SAMPLES) :]
    runs = many(60, 1500)
    wrong = total = 0
    for seed in range(runs):
        random = np.random.default_rng([1, seed])
        harmed = wire[:head] + damaged(wire[head:tail], random, 0.002) + wire[tail:]
        clock = [0.0]
        decoder = decoder_for(stream, clock, live=False)
        blocks, error = read(decoder, harmed, random, clock)
        check_blocks(blocks, decoder, error)
        if error:
            # A file with NaN is refused, and so is one whose comments contradict its times.
            assert stream in ("csv", "csv with millis", "grove"), error
            continue
        found = values_of(blocks)
        total += len(found)
        if "csv" in stream or stream == "grove":
            assert set(found.tolist()) <= lines_values(harmed)
        else:
            wrong += sum(value not in known for value in found.tolist())
        assert np.array_equal(found[-len(last) :], last)
    # Shimmer3 packets have no checksum, BITalino frames one of four bits and ekd frames one of sixteen.
    allowed = {"shimmer3": 0.02, "bitalino": 0.001}.get(stream, 1e-4)
    assert wrong <= allowed * total
    row(f"damaged bytes, {stream}", f"{runs} streams", "the rest is read", f"{wrong} of {total} readings were not sent")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("stream", STREAMS)
def test_bytes_damaged_from_the_start_give_blocks_or_one_error(
    stream: str, named: bool, live: bool, many: Callable[[int, int], int]
) -> None:
    wire = recorded(stream)
    for seed in range(many(30, 500)):
        random = np.random.default_rng([2, seed])
        harmed = damaged(wire[: int(random.integers(1, len(wire)))], random, float(random.choice([0.001, 0.01, 0.1])))
        clock = [0.0]
        options = StreamOptions(live=live, clock=lambda now=clock: now[0], default_rate_hz=HZ)  # type: ignore[misc]
        decoder = open_decoder(stream.split(maxsplit=1)[0] if named else "auto", options)
        blocks, error = read(decoder, harmed, random, clock)
        check_blocks(blocks, decoder, error)
