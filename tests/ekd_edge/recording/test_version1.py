"""Recordings of format 1, which are only read. version1.ekdrec was written by the last program of that format."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from ekd_edge.recording.format import Mark, PredictionLine
from ekd_edge.recording.reader import Reader
from ekd_edge.recording.replay import RecordingReplay, find_recordings
from ekd_edge.signal.blocks import Baseline, SampleBlock
from tests.ekd_edge.recording.blocks import UNIT, Item, Sample, block_of, samples_of, texts_of

FILE = Path(__file__).with_name("version1.ekdrec")


def expected() -> list[Item]:
    found: list[Item] = []
    for run in range(2):
        counts = block_of(np.arange(300.0), 0, 2 * run, Fraction(39, 2), UNIT)
        values = SampleBlock(np.arange(40) + 0.5, 1000, Fraction(39, 2), 2 * run, lead_off=True)
        found += [
            replace(counts, baseline=Baseline(3.5, 0.25, 60.0)),
            Mark(1.8e9, "the device has restarted " * 20),
            PredictionLine('{"targets": {"arousal": {"label": "low"}}}'),
            values,
            replace(values, first_index=0, segment=2 * run + 1, rate_hz=Fraction(1000, 3), lead_off=False),
        ]
    return found


def test_recording_of_version_1_is_read_without_anchors() -> None:
    reader = Reader()
    found = list(reader.feed(FILE.read_bytes()))
    assert samples_of(found) == samples_of(expected())
    assert texts_of(found) == texts_of(expected())
    assert reader.damaged == 0
    assert {block.anchor for block in found if isinstance(block, SampleBlock)} == {None}
    assert find_recordings(FILE) == [FILE]
    replay = RecordingReplay([FILE])
    assert (replay.smoothing.smooth_s, replay.smoothing.hysteresis) == (2.5, 0.1)
    assert samples_of(replay.blocks()) == samples_of(expected())


def without_segment(samples: list[Sample]) -> set[Sample]:
    return {each[1:] for each in samples}


def test_flipped_bit_in_version_1_gives_only_recorded_samples_and_no_exception() -> None:
    """Metadata of version 1 are written once: the samples of a damaged source are lost with it, and counted."""
    wire = FILE.read_bytes()
    everything = without_segment(samples_of(expected()))
    for at in range(0, len(wire), 3):
        damaged = bytearray(wire)
        damaged[at] ^= 1 << at % 8
        reader = Reader()
        reader.begin_file()
        found = list(reader.feed(bytes(damaged) + b"\0"))
        assert without_segment(samples_of(found)) <= everything
        assert len(samples_of(found)) >= 380
        assert reader.damaged >= 1
