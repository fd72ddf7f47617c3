"""A USB serial adapter under Debian's driver and udev, unplugged and replugged while `ekd-edge` reads it."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from ekd_edge.recording.reader import Reader
from ekd_edge.recording.replay import find_recordings, read_recordings
from ekd_edge.signal.blocks import SampleBlock
from firmware_bridge.devices.ekd.emulator import FRAME_SAMPLES
from tests.helpers.numbered_sensor import HZ, LOWEST, PERIOD, check
from tests.usb.edge_inside import EdgeInside, start
from tests.usb.guest import BY_ID, Guest
from tests.usb.wired_sensor import WiredSensor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

AWAY_S = 1.0
BACK_S = 5.0
"""The limit of the time until a sensor is read again, on an emulated processor."""
PULLED_S = 0.3
"""The limit of the signal that an unplugging loses: the frame on the wire, and bytes that were not read yet, which the
driver discards with the node. ekd-edge reads every 0.15 s while no window is nearly complete."""
LONG_S = 32.0
"""Longer than the first 30 s, in which ekd-edge reads without pauses."""

Row = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Stay:
    """One time that the adapter was plugged in: its node, and how soon ekd-edge reported that it reads the sensor."""

    node: str
    read_s: float


@dataclass(frozen=True, slots=True)
class Replugs:
    """The result of unplugging. segments: (first, stop) of each, in the sensor's own count of its samples. asked: that
    count each time that the sensor answered a question.
    """

    stays: list[Stay]
    segments: list[tuple[int, int]]
    asked: list[int]

    @property
    def renamed(self) -> list[bool]:
        """Of each time that the adapter came back, whether its node had another name."""
        return [old.node != new.node for old, new in pairwise(self.stays)]


def test_replugged_adapter_is_read_under_its_own_name(guest: Guest, tmp_path: Path, row: Row) -> None:
    replugs = _replugged(guest, "/dev/ttyUSB0", 1, tmp_path, row, first_s=LONG_S)
    assert {stay.node for stay in replugs.stays} == {"/dev/ttyUSB0"}


def test_renamed_adapter_is_found_by_its_usb_id(guest: Guest, tmp_path: Path, row: Row) -> None:
    assert all(_replugged(guest, "usb:0403:6001", 1, tmp_path, row, held=True).renamed)


def test_adapter_renamed_ten_times_is_found_by_id(guest: Guest, tmp_path: Path, row: Row) -> None:
    replugs = _replugged(guest, f"{BY_ID} --format ekd", 10, tmp_path, row, held=True)
    assert all(replugs.renamed[::2])
    # With this format the sensor gets a request as soon as the port is open: no sample after the request is missing.
    assert all(first <= asked for (first, _), asked in zip(replugs.segments, replugs.asked, strict=True))


def _replugged(
    guest: Guest, port: str, times: int, folder: Path, row: Row, held: bool = False, first_s: float = 0.0
) -> Replugs:
    """Unplug and replug repeatedly while the sensor continues: each stay is one segment, whole and without a gap.

    held: something else has the node open when the adapter goes, every other time, so it comes back under another name.
    first_s: how long the first stay lasts.
    """
    edge = start(guest, port)
    with WiredSensor(guest.wire) as sensor:
        edge.until(lambda: "waiting for it" in edge.stderr)
        stays = [_stay(guest, edge, sensor, first_s)]
        for count in range(times):
            if held and count % 2 == 0:
                _hold(guest, stays[-1].node)
            _unplug(guest, sensor)
            time.sleep(AWAY_S)
            if held and count % 2:
                guest.run("busybox killall sleep")
            stays.append(_stay(guest, edge, sensor))
        _unplug(guest, sensor)
        assert edge.stop() == 0
        sentences, recording = edge.stderr, edge.recorded(folder / "recording")

    found = check(recording)
    assert "Traceback" not in sentences
    assert (found.segments, found.gaps, found.wrong, found.damaged) == (times + 1, 0, 0, 0)
    assert f" {found.samples} samples received, 0 dropped, 0 rejected" in sentences
    assert {json.loads(line)["segment"] for line in found.predictions} == set(range(times + 1))

    sent, replugs = _stretches(sensor.carried), Replugs(stays, _segments(recording), sensor.asked)
    begun = [(segment[0] - whole[0]) / HZ for whole, segment in zip(sent, replugs.segments, strict=True)]
    pulled = [(whole[1] - segment[1]) / HZ for whole, segment in zip(sent, replugs.segments, strict=True)]
    row(
        port,
        f"{times}, for {AWAY_S:g} s",
        sum(replugs.renamed),
        f"{max(stay.read_s for stay in stays):.1f} s at most",
        f"{found.samples} in {found.segments} segments, {found.gaps} gaps, {found.wrong} wrong",
        f"{max(begun):.2f} s at most",
        f"{max(pulled):.2f} s at most",
    )
    assert all(0 <= lost_s <= stay.read_s < BACK_S for lost_s, stay in zip(begun, stays, strict=True))
    assert all(0 <= lost_s <= PULLED_S for lost_s in pulled)
    return replugs


def _stay(guest: Guest, edge: EdgeInside, sensor: WiredSensor, lasting_s: float = 0.0) -> Stay:
    """Plug the adapter in, until there are predictions again."""
    readings, predictions = edge.readings, edge.predictions
    began_s = time.monotonic()
    guest.plug_in()
    sensor.join()
    edge.until(lambda: edge.readings > readings)
    read_s = time.monotonic() - began_s
    time.sleep(lasting_s)
    edge.until(lambda: edge.predictions > predictions)
    return Stay(guest.run(f"readlink -f {BY_ID}").strip(), read_s)


def _unplug(guest: Guest, sensor: WiredSensor) -> None:
    sensor.cut()
    guest.unplug()


def _hold(guest: Guest, node: str) -> None:
    """Have another process open the node, as long as it lives."""
    guest.run(f"sleep infinity < {node} & until [ $(readlink /proc/$!/fd/0) = {node} ]; do sleep 0.1; done")


def _stretches(carried: list[bool]) -> list[tuple[int, int]]:
    """First sample, and the one behind the last, of each time that the line was whole."""
    frames = groupby(range(len(carried)), carried.__getitem__)
    whole = [list(group) for heard, group in frames if heard]
    return [(FRAME_SAMPLES * group[0], FRAME_SAMPLES * (group[-1] + 1)) for group in whole]


def _segments(recording: Path) -> list[tuple[int, int]]:
    """The same of each segment, by the numbers of its samples."""
    segments: dict[int, tuple[int, int]] = {}
    stop = 0
    for block in read_recordings(find_recordings(recording) or [], Reader()):
        if isinstance(block, SampleBlock):
            readings = block.values if block.readings is None else block.readings
            first = stop + int(readings[0] - LOWEST - stop) % PERIOD
            stop = first + len(readings)
            segments[block.segment] = segments.get(block.segment, (first,))[0], stop
    return list(segments.values())
