"""Predictions as plain text, one line each."""

from typing import TextIO

from ekd_edge.formatting import origin
from ekd_edge.prediction import Prediction
from ekd_edge.sinks.line_sink import LineSink
from ekd_edge.sinks.pieces import clock, look_of
from ekd_edge.sinks.sensor_view import Labels
from firmware_bridge.printable import printable

__all__ = ["TextSink", "plain_line"]


def plain_line(prediction: Prediction, labels: Labels, synthetic: bool = False) -> str:
    """One prediction as one line without control characters.

    Args:
        prediction: of any model.
        labels: of each target of that model; each label is shown with its own probability.
        synthetic: end the line with a mark that the model was trained on synthetic data.

    Returns:
        The line, without a newline.
    """
    parts = [] if prediction.source is None else [prediction.source]
    parts.append(clock(prediction.time_s))
    for name, label in prediction.labels.items():
        chance = None if label is None else prediction.label_probability(name, labels[name])
        parts.append(f"{name} -" if chance is None else f"{name} {label} {chance:.0%}")
    parts.append(f"signal {prediction.quality.score:.0%}")
    if prediction.withheld:
        parts.append(f"withheld: {prediction.quality.reason}")
    return printable("  ".join(parts) + origin(synthetic))


class TextSink(LineSink):
    """Writes one plain line for each prediction; see `LineSink`."""

    def __init__(self, stream: TextIO, labels: Labels, synthetic: bool = False) -> None:
        """labels: of each target. synthetic: see `plain_line`."""
        look = look_of(stream, color=False)
        super().__init__(stream, lambda prediction: look.paint([(plain_line(prediction, labels, synthetic), "")]))
