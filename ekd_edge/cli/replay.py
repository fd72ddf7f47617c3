"""Predictions from a recording, with its output and messages."""

import argparse
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from ekd_edge.cli.messages import banner, clipped_input, closing_line, notify
from ekd_edge.cli.port_options import sensor_options
from ekd_edge.cli.shutdown import Stopping
from ekd_edge.errors import SignalError
from ekd_edge.model.file import ModelFile
from ekd_edge.model.interpreter import Classifier
from ekd_edge.pipeline.stream import SensorPipeline, predict_blocks
from ekd_edge.recording.replay import choose_smoothing, open_recording
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sinks.jsonl import JsonLinesSink
from ekd_edge.sinks.plain_text import TextSink
from ekd_edge.sinks.sink_group import ReaderGoneError, SinkGroup
from ekd_edge.sources.sensor import SensorFileReplay

__all__ = ["run_replay"]


def run_replay(options: argparse.Namespace, model_file: ModelFile, classifier: Classifier, stop: Stopping) -> None:
    """Predict from a recording until it ends, after --seconds or until stopped.

    Args:
        options: the options of `ekd-edge predict`.
        model_file, classifier: the model.
        stop: set by signals.

    Raises:
        SignalError: no window of the recording has a usable signal.
    """
    manifest = model_file.manifest
    synthetic = manifest.training.synthetic
    labels = {target.name: target.labels for target in manifest.targets}
    sink = JsonLinesSink(sys.stdout) if options.json else TextSink(sys.stdout, labels, synthetic)
    path = Path(options.replay.url)
    with open_recording(path, sensor_options(options, options.replay)) as source:
        smoothing = choose_smoothing(source, options.smooth, options.hysteresis)
        notify(banner(model_file, str(path)))
        output = SinkGroup([sink], sys.stdout)
        if isinstance(source, SensorFileReplay):
            replayed = source.blocks(stop.check, notify)
        else:
            replayed = source.blocks(stop.check)
        blocks = output.observing(_first_seconds(replayed, options.seconds or math.inf))
        pipeline = SensorPipeline(manifest, smoothing)
        reason = None
        try:
            with output:
                for prediction in predict_blocks(blocks, pipeline, classifier):
                    output.write(prediction)
                    reason = prediction.quality.reason
                    if stop.event.is_set():
                        break
        except ReaderGoneError:
            pass
        finally:
            counts = source.counts
            line = closing_line(counts.dropped, counts.rejected, output, manifest)
            notify(line + clipped_input([pipeline]))
        if 0 < output.predicted == output.withheld:
            raise SignalError(
                f"no window of {path} has a usable signal (the last: {reason}): check --unit, --adc-bits and "
                "how the electrodes were attached"
            )


def _first_seconds(blocks: Iterable[SampleBlock], seconds: float) -> Iterator[SampleBlock]:
    """The blocks, cut after the given seconds of samples."""
    if math.isinf(seconds):
        yield from blocks
        return
    left_s = Fraction(seconds)
    for block in blocks:
        samples = math.ceil(left_s * block.rate_hz)
        readings = None if block.readings is None else block.readings[:samples]
        yield replace(block, values=block.values[:samples], readings=readings)
        left_s -= len(block.values) / block.rate_hz
        if left_s <= 0:
            return
