"""Messages of `ekd-edge` on stderr: the first line, the last line and notices in between."""

import sys
from collections.abc import Iterable
from contextlib import suppress

from ekd_edge.formatting import percent
from ekd_edge.model.file import ModelFile
from ekd_edge.model.find import describe_signoff
from ekd_edge.model.manifest import Manifest
from ekd_edge.pipeline.stream import SensorPipeline
from ekd_edge.sinks.sink_group import SinkGroup
from firmware_bridge.printable import printable

__all__ = ["banner", "clipped_input", "closing_line", "notify"]


def notify(message: str) -> None:
    """Print one sentence on stderr, for the user or the journal; never fails, and can be called by any thread."""
    with suppress(OSError, ValueError):  # stderr is closed, or its disk is full: the sentence has no reader
        wipe = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(f"{wipe}ekd-edge: {printable(message)}", file=sys.stderr, flush=True)


def banner(model_file: ModelFile, source: str) -> str:
    """The first message: the model, its sign-off, its training data and the source."""
    manifest = model_file.manifest
    spec = manifest.signal
    data = f"{manifest.training.dataset} (synthetic: no person was recorded)"
    about = ", ".join(filter(None, (manifest.kind, describe_signoff(manifest))))
    return printable(
        f"{model_file.path} ({about}) predicts {', '.join(t.name for t in manifest.targets)} "
        f"every {spec.hop_s:g} s from {spec.window_s:g} s at {float(spec.rate_hz):g} Hz; "
        f"trained on {data if manifest.training.synthetic else manifest.training.dataset}; "
        f"reading {source}"
    )


def closing_line(dropped: int, rejected: int, output: SinkGroup, manifest: Manifest) -> str:
    """The last message: counts of samples and predictions."""
    line = (
        f"{output.samples} samples received, {dropped} dropped, {rejected} rejected; "
        f"{output.predicted} windows predicted, {output.withheld} withheld"
    )
    if output.samples and not output.predicted:
        needed_s = manifest.signal.settle_s + manifest.signal.window_s
        line += f": the first window takes {needed_s:g} s of uninterrupted signal"
    return line


def clipped_input(pipelines: Iterable[SensorPipeline]) -> str:
    """The end of the last line: the share of the input that an int8 model clipped; empty where it clipped none."""
    found = [each.input_range.statistics() for each in pipelines if each.input_range is not None]
    clipped = sum(each.clipped for each in found)
    if clipped == 0:
        return ""
    share = clipped / sum(each.samples for each in found)
    return f"; {percent(share)} of the model's input was outside the range that it was calibrated on"
