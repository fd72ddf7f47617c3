"""Blocks and recordings that the tests of this folder compare."""

import json
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ekd_edge.prediction import Prediction
from ekd_edge.recording.format import Encoder, Mark, PredictionLine
from ekd_edge.signal.blocks import Baseline, SampleBlock, TimeAnchor
from ekd_edge.signal.quality import Quality
from firmware_bridge.units import Unit

__all__ = [
    "UNIT",
    "Item",
    "Sample",
    "block_of",
    "encoded",
    "prediction",
    "ramp",
    "samples_of",
    "small_recording",
    "texts_of",
]

UNIT = Unit("adc", 13, 30.0)

Item = SampleBlock | Mark | PredictionLine
Sample = tuple[object, ...]


def block_of(
    readings: NDArray[np.float64],
    first_index: int = 0,
    segment: int = 0,
    rate: Fraction = Fraction(128),
    unit: Unit | None = UNIT,
) -> SampleBlock:
    values = readings if unit is None else unit.to_microsiemens(readings)
    return SampleBlock(values, first_index, rate, segment, None if unit is None else readings, unit)


def ramp(number: int, samples: int = 64) -> SampleBlock:
    """Block `number` of a signal whose samples are their own index."""
    return SampleBlock(np.arange(number * samples, (number + 1) * samples) / 16, number * samples, Fraction(128))


def prediction(chance: float = 0.25) -> Prediction:
    return Prediction(0, 1.0, 0, {"arousal": (1 - chance, chance)}, {"arousal": "low"}, Quality(1.0, None), 1.0)


def encoded(sent: Iterable[Item], run: str = "r") -> bytes:
    encoder = Encoder()
    wire = encoder.begin({"run": run})
    for item in sent:
        if isinstance(item, SampleBlock):
            wire += encoder.block(item)
        else:
            wire += encoder.mark(item) if isinstance(item, Mark) else encoder.prediction(item.text)
    return wire


def samples_of(found: Iterable[Item]) -> list[Sample]:
    """Everything that a prediction depends on, of each sample."""
    return [
        (item.segment, item.first_index + i, item.rate_hz, item.anchor, item.fault, item.lead_off, item.baseline, value)
        for item in found
        if isinstance(item, SampleBlock)
        for i, value in enumerate(item.values.tolist())
    ]


def texts_of(found: Iterable[Item]) -> list[Mark | PredictionLine]:
    return [item for item in found if not isinstance(item, SampleBlock)]


def small_recording(folder: Path) -> list[Path]:
    """Two runs of two files each, with all kinds of metadata; a source is repeated in the last file."""
    rng = np.random.default_rng(3)
    files = []
    for run in range(2):
        encoder = Encoder()
        at = 0
        for number in range(2):
            wire = encoder.begin({"run": f"run {run}", "port": "/dev/x", "model": "m", "smooth_s": 2.5, "margin": 0.1})
            for part in range(4):
                block = block_of(rng.integers(0, 8192, 150).astype(float), at, number)
                block = replace(block, anchor=TimeAnchor(at, 1.8e9 + part / 3), lead_off=part == 1)
                if part == 2:
                    block = replace(block, unit=None, readings=None, fault="the rate is wrong")
                if part == 3:
                    block = replace(block, baseline=Baseline(3.5, 0.25, 60.0))
                wire += encoder.block(block)
                at += 150 + 7 * part
                name = 100 * run + 10 * number + part
                wire += encoder.mark(Mark(1.8e9 + name, "a mark " * 10 * part))
                line = {"targets": {"arousal": {"label": "low"}}, "first_index": name, "pad": "x" * 200 * part}
                wire += encoder.prediction(json.dumps(line))
            encoder._since_repeat = 1 << 20
            wire += encoder.block(replace(block, first_index=at))
            at += 150
            files.append(folder / f"{run + 1:06d}-{number + 1:04d}-20261125T101530Z.ekdrec")
            files[-1].write_bytes(wire)
    return files
