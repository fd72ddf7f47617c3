"""Plots of the HTML report, each as one inline SVG element; they show no text from the data."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["layers_plot", "logits_plot", "reliability_plot", "subjects_plot"]

BEFORE, AFTER, WARNING, GREY = "#1f4e79", "#c98a1b", "#b00020", "#8a8a8a"
_WORST_MARKED = 3


def subjects_plot(target: Mapping[str, Any], max_drop: float | None, suffix: str) -> str:
    """Change of accuracy of each subject, worst first, with the allowed change, either way, if one is set."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(6.4, 3.2)
    axes = figure.subplots()
    changes = sorted(100 * (each["accuracy_after"] - each["accuracy_before"]) for each in target["subjects"])
    axes.bar(range(1, len(changes) + 1), changes, color=[WARNING if each < 0 else BEFORE for each in changes])
    axes.axhline(0, color="black", linewidth=0.8)
    if max_drop is not None:
        for end, label in ((-100 * max_drop, "allowed for the mean"), (100 * max_drop, None)):
            axes.axhline(end, color=WARNING, linestyle="--", linewidth=1, label=label)
        axes.legend(frameon=False, fontsize=8)
    axes.set(title=f"Accuracy of each test subject, after - before{suffix}", xlabel="subjects, worst first")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("points of accuracy")
    return _svg(figure, "Bars of the change of accuracy of each test subject")


def reliability_plot(target: Mapping[str, Any], suffix: str) -> str:
    """Reliability diagram: accuracy against confidence, before and after."""
    figure = _figure(4.2, 3.8)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    for key, color in (("before", BEFORE), ("after", AFTER)):
        filled = [each for each in target[f"reliability_{key}"]["bins"] if each["windows"]]
        axes.plot(
            [each["confidence"] for each in filled], [each["accuracy"] for each in filled], "o-", color=color,
            markersize=4, linewidth=1, label=f"{key}: ECE {target[f'reliability_{key}']['ece']:.1%}",
        )  # fmt: skip
    axes.set(title=f"Reliability{suffix}", xlabel="confidence", ylabel="accuracy", xlim=(0.4, 1.02), ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure, "Reliability diagram before and after")


def logits_plot(target: Mapping[str, Any], suffix: str) -> str:
    """Scatter plot of logits after against logits before, for a sample of windows."""
    figure = _figure(4.2, 3.8)
    axes = figure.subplots()
    before, after = (np.array(target["logits"][key]).ravel() for key in ("before", "after"))
    ends = [float(min(before.min(), after.min())), float(max(before.max(), after.max()))]
    axes.plot(ends, ends, color=GREY, linewidth=0.8, linestyle=":")
    axes.scatter(before, after, s=7, color=BEFORE, alpha=0.6, linewidths=0)
    axes.set(title=f"Logits of {len(target['logits']['before'])} windows{suffix}", xlabel="float student")
    axes.set_ylabel("this file")
    return _svg(figure, "Scatter plot of the logits of this file against those of the float student")


def layers_plot(layers: Sequence[Mapping[str, Any]], suffix: str) -> str:
    """Signal to quantization noise ratio of every operation, in graph order; the worst three are marked.

    An operation without a ratio has a word in place of a bar: "exact", or "no signal".
    """
    figure = _figure(6.4, 0.8 + 0.2 * len(layers))
    axes = figure.subplots()
    values = [each["sqnr_db"] if each["sqnr_db"] is not None else 0.0 for each in layers]
    lost = [each["lost_db"] if each["lost_db"] is not None else 0.0 for each in layers]
    worst = set(np.argsort(lost)[::-1][:_WORST_MARKED].tolist())
    colors = [WARNING if place in worst else BEFORE for place in range(len(layers))]
    axes.barh(range(len(layers)), values, color=colors)
    for place, each in enumerate(layers):
        if each["sqnr_db"] is None:
            axes.text(0, place, "exact" if each["rmse"] == 0 else "no signal", fontsize=7, va="center")
    axes.set_yticks(range(len(layers)), [each["operation"] for each in layers], fontsize=7)
    axes.invert_yaxis()
    title = f"Quantization noise by operation{suffix}\nred: highest loss"
    axes.set(title=title, xlabel="SQNR in dB, high is good")
    return _svg(figure, "Bars of the signal to quantization noise ratio of every operation")


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: "Figure", description: str) -> str:
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "ekd", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    drawing = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return drawing.replace("<svg", f'<svg role="img" aria-label="{description}"', 1)
