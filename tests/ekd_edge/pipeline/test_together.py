"""Sensors that are computed together have the bits of each one computed by itself."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekd_edge.model.file import load_model_file
from ekd_edge.model.manifest import Manifest
from ekd_edge.pipeline.stream import PendingWindows, SensorPipeline, windows_of
from ekd_edge.signal.blocks import Baseline, SampleBlock
from firmware_bridge.units import parse_unit

ADC = parse_unit("adc", 10)
SECONDS = 12


@pytest.fixture(scope="module")
def manifest(model_path: Path) -> Manifest:
    return load_model_file(model_path).manifest


@st.composite
def sensors(draw: st.DrawFn) -> list[list[SampleBlock]]:
    """Several sensors' blocks; a block of each is pushed at the same time."""
    turns = draw(st.integers(2, 12))
    found = []
    for seed in range(draw(st.integers(1, 6))):
        rng = np.random.default_rng(seed + 1000 * draw(st.integers(0, 50)))
        rate = Fraction(draw(st.sampled_from(["16", "20", "128", "1000/3"])))
        size = max(1, int(SECONDS * rate / turns))
        kind = draw(st.sampled_from(["lively", "resting", "saturated", "stuck"]))
        baseline = draw(st.sampled_from([None, Baseline(0.7, 0.02, 60.0)]))
        index, segment, level = 0, 0, 500.0
        blocks = []
        for _ in range(turns):
            event = draw(st.sampled_from(["none"] * 5 + ["lost", "gap", "restart", "off"]))
            index += {"lost": 2, "gap": int(2 * rate)}.get(event, 0)
            if event == "restart":
                index, segment = 0, segment + 1
            steps = rng.integers(-3, 4, size) * (rng.random(size) < (0.9 if kind == "lively" else 0.05))
            readings = np.clip(level + np.cumsum(steps), 200, 800).astype(np.float64)
            level = float(readings[-1])
            if kind == "saturated":
                readings[size // 2 :] = 1023.0
            if kind == "stuck":
                readings[:] = 500.0
            blocks.append(
                SampleBlock(
                    ADC.to_microsiemens(readings),
                    index,
                    rate,
                    segment,
                    readings,
                    ADC,
                    lead_off=event == "off",
                    baseline=baseline,
                )
            )
            index += size
        found.append(blocks)
    return found


def contents(pending: PendingWindows) -> tuple[Any, ...]:
    batch = pending.batch
    return (
        batch.values.tobytes(),
        batch.raw.tobytes(),
        batch.first_index.tolist(),
        batch.end_s.tobytes(),
        batch.segment,
        pending.qualities,
    )


@settings(deadline=None, max_examples=60)
@given(streams=sensors())
def test_windows_and_qualities_have_the_bits_of_single_sensors(
    manifest: Manifest, streams: list[list[SampleBlock]]
) -> None:
    singles = [SensorPipeline(manifest) for _ in streams]
    grouped = [SensorPipeline(manifest) for _ in streams]
    for blocks in zip(*streams, strict=True):
        expected = [
            [contents(each) for each in single.push(block, 0.0)] for single, block in zip(singles, blocks, strict=True)
        ]
        held = [each for each in (p.hold(b, 0.0) for p, b in zip(grouped, blocks, strict=True)) if each is not None]
        found: dict[SensorPipeline, list[Any]] = {pipeline: [] for pipeline in grouped}
        for pending in windows_of(held):
            found[pending.pipeline].append(contents(pending))
        assert list(found.values()) == expected
        assert [p.next_window_s for p in grouped] == [p.next_window_s for p in singles]


def test_no_held_samples_give_no_windows() -> None:
    assert windows_of([]) == []
