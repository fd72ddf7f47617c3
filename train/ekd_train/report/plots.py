"""The plots of a report, made from report.json: scores, training, confusion and differences of each target."""

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ekd_edge.errors import ConfigError
from ekd_edge.formatting import points
from ekd_train.report.methods import short_title, title
from ekd_train.report.notes import marks, p_value, verdict
from firmware_bridge.dependencies import install_command

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_plots", "plot_names"]

COLORS = ("#1f4e79", "#c0504d", "#4f8a3d", "#7f5fa3", "#c98a1b", "#2a9aa8", "#7a5a48", "#606060")
GREY, WARNING = "#8a8a8a", "#b00020"
DPI = 130
COLUMNS = 3
NAMED_SUBJECTS = 40
TASK_LOSSES = ("hard", "task", "loss")


def plot_names(report: Mapping[str, Any]) -> list[str]:
    """The files that `draw_plots` draws, in order."""
    return [name for name, _, _ in _plots(report)]


def draw_plots(report: Mapping[str, Any]) -> Iterator[tuple[str, "Figure"]]:
    """File name and figure of each plot that the report has figures for.

    Raises ConfigError if matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise ConfigError(f"plots need matplotlib, which is not installed: run `{install_command('train')}`") from None
    for name, draw, target in _plots(report):
        yield name, draw(report, target)


def _plots(report: Mapping[str, Any]) -> list[tuple[str, Callable[[Mapping[str, Any], str], "Figure"], str]]:
    tested = [target for target, content in report["targets"].items() if content["methods"]]
    kinds = (
        ("scores", _scores, tested),
        ("training", _training, [target for target in tested if _trained(report, target)]),
        ("confusion", _confusion, tested),
        ("differences", _differences, [target for target in tested if _compared(report, target)]),
    )
    return [
        (f"{kind}-{re.sub(r'[^A-Za-z0-9]+', '_', target)}.png", draw, target)
        for kind, draw, targets in kinds
        for target in targets
    ]


def _scores(report: Mapping[str, Any], target: str) -> "Figure":
    """Every subject's scores, one column per method, with mean, interval and the level of the larger class."""
    methods = report["targets"][target]["methods"]
    larger = report["targets"][target]["larger_class"]
    figure = _figure(report, f"{target}: scores of the test subjects", 2.4 + 1.3 * len(methods), 7.6)
    axes = figure.subplots(2, 1, sharex=True)
    for axis, score, label in zip(axes, ("accuracy", "macro_f1"), ("accuracy (%)", "F1 (%)"), strict=True):
        for column, (method, scores) in enumerate(methods.items()):
            color = _color(report, method)
            values = sorted(100 * subject[score] for subject in scores["subjects"])
            axis.scatter(_spread(column, len(values)), values, s=16, color=color, alpha=0.45, linewidths=0)
            _mean_bar(axis, column + 0.36, scores[score], color)
        level = 100 * larger[score]["mean"]
        axis.axhline(level, color=GREY, linestyle="--", linewidth=1, zorder=0, label="always the larger class")
        axis.set_ylabel(label)
        _tidy(axis)
    axes[0].legend(loc="best", fontsize=8, frameon=False)
    axes[1].set_xticks(range(len(methods)), [_wrapped(method, 18) for method in methods], fontsize=8)
    axes[1].set_xlim(-0.6, len(methods) - 0.4)
    figure.supxlabel(
        "small dots: subjects, mean over seeds; large dot: mean over subjects, 95 % interval", fontsize=8, color=GREY
    )
    return figure


def _training(report: Mapping[str, Any], target: str) -> "Figure":
    """Validation accuracy and loss by epoch, mean and spread over runs, one column per method."""
    trained = _trained(report, target)
    figure = _figure(report, f"{target}: training, mean ± sd over folds and seeds", 1.2 + 2.5 * len(trained), 5.6)
    axes = figure.subplots(2, len(trained), sharex="col", sharey="row", squeeze=False)
    for column, method in enumerate(trained):
        training = report["targets"][target]["methods"][method]["training"]
        curve, color = training["curve"], _color(report, method)
        epochs = [point["epoch"] for point in curve]
        for row, (score, scale) in enumerate((("accuracy", 100.0), ("loss", 1.0))):
            axis = axes[row][column]
            _band(axis, epochs, [point["validation"][score] for point in curve], scale, color, "validation")
            axis.axvline(training["best_epoch"]["median"], color=GREY, linestyle=":", linewidth=1)
            _tidy(axis)
        task = [next((p["losses"][name] for name in TASK_LOSSES if name in p["losses"]), None) for p in curve]
        if any(value is not None for value in task):
            drawn = [float("nan") if value is None else value for value in task]
            axes[1][column].plot(epochs, drawn, color=color, linestyle="--", linewidth=1.1, label="training, task loss")
        axes[0][column].set_title(f"{_wrapped(method, 24)}\n{training['runs']} runs", fontsize=9)
        axes[1][column].set_xlabel("epoch")
    axes[0][0].set_ylabel("validation accuracy (%)")
    axes[1][0].set_ylabel("loss")
    axes[1][0].legend(loc="best", fontsize=7, frameon=False)
    figure.supxlabel("dotted: the median of the best epochs", fontsize=8, color=GREY)
    return figure


def _confusion(report: Mapping[str, Any], target: str) -> "Figure":
    """The fractions of predicted classes for each true class, one panel per method."""
    methods = report["targets"][target]["methods"]
    columns = min(len(methods), 4)
    rows = -(-len(methods) // columns)
    figure = _figure(
        report, f"{target}: confusion, all test windows of all seeds", 2.75 * columns + 0.8, 3.2 * rows + 0.5
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    for number, axis in enumerate(axes.flat):
        if number >= len(methods):
            axis.set_axis_off()
            continue
        method = list(methods)[number]
        counts = methods[method]["confusion"]
        shares = [[count / max(1, sum(row)) for count in row] for row in counts]
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for true in range(2):
            for predicted in range(2):
                share = shares[true][predicted]
                color = "white" if share > 0.55 else "black"
                where = {"color": color, "ha": "center", "va": "center"}
                axis.text(predicted, true - 0.08, f"{share:.1%}", fontsize=13, **where)
                axis.text(predicted, true + 0.2, f"{counts[true][predicted]:,}", fontsize=8, **where)
        axis.set_xticks((0, 1), ("low", "high"))
        axis.set_yticks((0, 1), ("low", "high"), rotation=90, va="center")
        axis.set_xlabel("predicted")
        axis.set_ylabel("true")
        axis.tick_params(length=0)
        axis.set_title(_wrapped(method, 26), fontsize=10)
    return figure


def _differences(report: Mapping[str, Any], target: str) -> "Figure":
    """Every subject's difference in accuracy, sorted, one panel per comparison, with mean and interval."""
    compared = _compared(report, target)
    columns = min(len(compared), COLUMNS)
    rows = -(-len(compared) // columns)
    most = max(len(comparison["differences"]) for comparison in compared)
    figure = _figure(
        report, f"{target}: differences in accuracy by subject", columns * max(4.2, 1.6 + 0.1 * most), 0.9 + 3.2 * rows
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    for number, axis in enumerate(axes.flat):
        if number < len(compared):
            _difference(axis, compared[number])
        else:
            axis.set_axis_off()
    # The students share one scale; the teacher, which uses EEG too, has its own.
    students = [axis for axis, each in zip(axes.flat, compared, strict=False) if each["method"] != "teacher"]
    for axis in students:
        axis.set_ylim(min(a.get_ylim()[0] for a in students), max(a.get_ylim()[1] for a in students))
    for row in axes:
        row[0].set_ylabel("difference (points)")
    figure.supxlabel(
        "dots: subjects, mean over seeds, with the range over seeds; band: 95 % interval of the mean",
        fontsize=8,
        color=GREY,
    )
    return figure


def _difference(axis: "Axes", comparison: Mapping[str, Any]) -> None:
    subjects = sorted(comparison["differences"], key=lambda each: (each["mean"], each["subject"]))
    places = range(len(subjects))
    means = [100 * each["mean"] for each in subjects]
    colors = [COLORS[0] if mean > 0 else COLORS[1] if mean < 0 else GREY for mean in means]
    axis.axhline(0, color="black", linewidth=0.9, zorder=1)
    if comparison["low"] is not None:
        axis.axhspan(
            100 * comparison["low"], 100 * comparison["high"], color="#f0c040", alpha=0.35, linewidth=0, zorder=0
        )
    axis.axhline(100 * comparison["mean"], color="#b8860b", linewidth=1.2, zorder=1)
    low, high = ([100 * each[end] for each in subjects] for end in ("low", "high"))
    axis.vlines(places, low, high, color=colors, linewidth=1.1, alpha=0.4)
    axis.scatter(places, means, s=17, color=colors, zorder=3, linewidths=0)
    if len(subjects) <= NAMED_SUBJECTS:
        axis.set_xticks(places, [each["subject"] for each in subjects], rotation=90, fontsize=6)
    else:
        axis.set_xticks([])
    axis.set_xlim(-0.8, len(subjects) - 0.2)
    _tidy(axis)
    names = f"{short_title(comparison['method'])} vs {short_title(comparison['reference'])}"
    axis.set_title(f"{textwrap.fill(names, 48)}\n{_caption(comparison)}", fontsize=8.5)


def _caption(comparison: Mapping[str, Any]) -> str:
    corrected = "" if comparison["t_p_holm"] is None else f", Holm {p_value(comparison['t_p_holm'], 'p')}"
    return f"{points(comparison['mean'])} points{corrected}\n{verdict(comparison)}"


def _figure(report: Mapping[str, Any], heading: str, width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    warning = marks(report).strip()
    figure = Figure(figsize=(max(width, 6.4), height + (0.3 if warning else 0)), dpi=DPI, layout="constrained")
    figure.suptitle(
        f"{heading}\n{warning}" if warning else heading, fontsize=12, color=WARNING if report["leaky"] else "black"
    )
    return figure


def _band(
    axis: "Axes", epochs: Sequence[int], points: Sequence[Mapping[str, Any]], scale: float, color: str, label: str
) -> None:
    mean = [float("nan") if point["mean"] is None else scale * point["mean"] for point in points]
    sd = [scale * (point["sd"] or 0.0) for point in points]
    axis.plot(epochs, mean, color=color, linewidth=1.6, label=label, marker="." if len(epochs) < 3 else None)
    low, high = [m - s for m, s in zip(mean, sd, strict=True)], [m + s for m, s in zip(mean, sd, strict=True)]
    axis.fill_between(epochs, low, high, color=color, alpha=0.18, linewidth=0)


def _mean_bar(axis: "Axes", place: float, summary: Mapping[str, Any], color: str) -> None:
    mean = 100 * summary["mean"]
    bars = None if summary["low"] is None else [[mean - 100 * summary["low"]], [100 * summary["high"] - mean]]
    axis.errorbar([place], [mean], yerr=bars, color=color, marker="o", markersize=6, capsize=3, linewidth=1.6, zorder=4)


def _spread(column: int, count: int) -> list[float]:
    """Horizontal positions of dots in the order of their values, so that similar values do not overlap."""
    return [column + 0.06 * ((3 * number) % 7 - 3) - 0.04 for number in range(count)]


def _tidy(axis: "Axes") -> None:
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)


def _color(report: Mapping[str, Any], method: str) -> str:
    names = [each["name"] for each in report["sweep"]["methods"]]
    return COLORS[names.index(method) % len(COLORS)]


def _wrapped(method: str, width: int) -> str:
    """The title in short lines; a part in brackets starts a new line."""
    name = title(method)
    parts = [name] if len(name) <= width else name.replace(" (", "\n(").split("\n")
    return "\n".join(textwrap.fill(part, width, break_on_hyphens=False) for part in parts)


def _trained(report: Mapping[str, Any], target: str) -> list[str]:
    return [name for name, method in report["targets"][target]["methods"].items() if method["training"]["curve"]]


def _compared(report: Mapping[str, Any], target: str) -> list[Mapping[str, Any]]:
    return [
        comparison
        for comparison in report["comparisons"]
        if (comparison["family"], comparison["target"], comparison["score"]) == ("methods", target, "accuracy")
    ]
