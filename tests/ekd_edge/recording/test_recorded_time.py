"""The wall-clock times of predictions: a replay gives those of the recording, to the bit."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from ekd_edge.api import load_model
from ekd_edge.prediction import Prediction
from ekd_edge.recording.recorder import Recorder
from ekd_edge.recording.replay import RecordingReplay, find_recordings
from ekd_edge.signal.blocks import SampleBlock, TimeAnchor


def without_latency(predictions: list[Prediction]) -> list[Prediction]:
    return [replace(each, latency_ms=0.0) for each in predictions]


def test_replay_gives_the_recorded_wall_clock_times(model_path: Path, tmp_path: Path) -> None:
    """The clock is fitted again and again, its rate is not a whole number, and the stream has a fault for a while."""
    rate = Fraction(1284, 10)
    walk = 5 + np.cumsum(np.random.default_rng(1).normal(scale=0.01, size=60 * 128))
    blocks = [
        SampleBlock(
            walk[at : at + 64],
            at,
            rate,
            anchor=None if at < 640 else TimeAnchor(at // 1280 * 1280, 1.8e9 + at // 1280 / 3),
            fault="the rate is wrong" if 3200 <= at < 4480 else None,
        )
        for at in range(0, len(walk), 64)
    ]
    model = load_model(model_path)
    live = without_latency(list(model.predict(blocks)))
    assert {each.utc_s is None for each in live} == {False}
    assert {each.quality.reason for each in live} == {None, "the rate is wrong"}
    assert len(live) > 50
    recorder = Recorder(tmp_path, {"run": "a"}, print)
    for block in blocks:
        recorder.observe(block)
        if block.first_index % 192 == 0:
            recorder.run()
    recorder.finish()
    replayed = RecordingReplay(find_recordings(tmp_path) or [])
    assert without_latency(list(model.predict(replayed))) == live
