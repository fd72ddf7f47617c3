"""Plot of a recording and its predictions: `python -m ekd_export.report.plot_recording --signal rec.csv ...`."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import ConfigError, DataError, EkdError
from ekd_edge.sources.sensor import SensorOptions, replay_blocks
from ekd_train.data.datasets.labels import LABELS, read_labels
from ekd_train.data.datasets.recording_files import recording_name
from ekd_train.data.datasets.recording_start import start_of
from ekd_train.data.windows import Trial
from firmware_bridge.cli.arguments import path_argument
from firmware_bridge.units import parse_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PredictedWindow", "draw", "main", "read_predictions", "read_signal", "read_trials"]

_SIGNAL, _HIGH, _LOW, _WITHHELD = "#1f4e79", "#c0504d", "#4f81bd", "#a0a0a0"
_HIGH_SHARE = 0.5
_POINTS = 6000


@dataclass(frozen=True, slots=True)
class PredictedWindow:
    """One line of predictions: end of the window (s), P(last label) by target, None for a withheld window."""

    end_s: float
    probabilities: dict[str, float]
    withheld: bool


def read_signal(path: Path, options: SensorOptions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds and microsiemens of a recording, read as `ekd-edge --replay` reads it; NaN at every gap.

    Raises EkdError where the file is missing or is not a recording.
    """
    times: list[NDArray[np.float64]] = []
    values: list[NDArray[np.float64]] = []
    expected: tuple[int, int] | None = None
    for block in replay_blocks(path, options):
        indices = block.first_index + np.arange(len(block.values))
        if expected is not None and expected != (block.segment, block.first_index):
            times.append(times[-1][-1:])
            values.append(np.array([np.nan]))
        times.append(indices / float(block.rate_hz))
        values.append(block.values)
        expected = (block.segment, block.first_index + len(block.values))
    if not times:
        raise DataError(f"{path} has no samples: name a recording")
    return np.concatenate(times), np.concatenate(values)


def read_predictions(path: Path) -> list[PredictedWindow]:
    """The predictions in a file written by `ekd-edge --json`, in order.

    Raises DataError where the file is missing or a line is not a prediction.
    """
    windows = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            data = json.loads(line)
            targets = data["targets"].items()
            windows.append(
                PredictedWindow(
                    end_s=float(data["time"]),
                    probabilities={name: float(target["probabilities"][-1]) for name, target in targets},
                    withheld=any(target["label"] is None for _, target in targets),
                )
            )
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}, line {len(windows) + 1} is not a prediction of ekd-edge --json") from error
    if not windows:
        raise DataError(f"{path} has no predictions: the recording is shorter than one window")
    return windows


def read_trials(signal: Path, labels: Path | None = None) -> tuple[Trial, ...]:
    """The rated trials of the recording `signal`, from `labels` or from a labels.csv next to it, if any.

    Raises DataError where `labels` is given and missing, or the table is malformed.
    """
    table = labels if labels is not None else signal.with_name(LABELS)
    if labels is None and not table.is_file():
        return ()
    return read_labels(table, start_of=lambda _: start_of(signal)).trials.get(recording_name(signal.name), ())


def draw(
    times: NDArray[np.float64],
    microsiemens: NDArray[np.float64],
    windows: Sequence[PredictedWindow],
    *,
    trials: Sequence[Trial] = (),
    threshold: float = 5.0,
    title: str = "Skin conductance and predictions",
    synthetic: bool = False,
) -> "Figure":
    """Draw the signal and P(high) of each target over time.

    Args:
        times: seconds, (n,).
        microsiemens: skin conductance, (n,); NaN at gaps.
        windows: the predictions, at least one.
        trials: rated periods, which are shaded by rating.
        threshold: ratings above it are high.
        title: title of the figure.
        synthetic: say in the title that the data is synthetic.

    Returns:
        A matplotlib figure with one panel for the signal and one for each target.
    """
    from matplotlib.figure import Figure

    targets = list(windows[0].probabilities)
    figure = Figure(figsize=(12, 3.2 + 1.9 * len(targets)), layout="constrained")
    axes = figure.subplots(1 + len(targets), 1, sharex=True, height_ratios=[1.6, *[1.0] * len(targets)])
    figure.suptitle(title + (" (synthetic data, no person was measured)" if synthetic else ""), fontsize=13)
    minutes = float(times[-1] - times[0]) > 300
    unit = 60.0 if minutes else 1.0
    step = max(1, len(times) // _POINTS)
    axes[0].plot(times[::step] / unit, microsiemens[::step], color=_SIGNAL, linewidth=0.9)
    axes[0].set_ylabel("skin conductance (µS)")
    for target, axis in zip(targets, axes[1:], strict=True):
        _draw_target(axis, target, windows, unit)
        _shade(axis, target, trials, threshold, unit)
        handles, labels = axis.get_legend_handles_labels()
        axis.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.005, 1.0), fontsize=8, frameon=False)
    for axis in axes:
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.01)
    axes[-1].set_xlabel(f"time ({'min' if minutes else 's'}); each prediction is at the end of its window")
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Plot a recording and its predictions to a file; return 0, or 2 for a fault."""
    args = _parser().parse_args(argv)
    try:
        options = SensorOptions(
            rate_hz=args.rate, unit=parse_unit(args.unit, args.adc_bits) if args.unit is not None else None
        )
        times, values = read_signal(args.signal, options)
        windows = read_predictions(args.predictions)
        trials = read_trials(args.signal, args.labels)
        figure = draw(
            times, values, windows, trials=trials, threshold=args.threshold, title=args.title, synthetic=args.synthetic
        )
        _save(figure, args.output)
    except EkdError as error:
        print(f"plot_recording: {error}", file=sys.stderr)
        return 2
    print(args.output)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ekd_export.report.plot_recording", description=__doc__)
    parser.add_argument("--signal", type=path_argument, required=True, help="the recording, as for ekd-edge --replay")
    parser.add_argument("--rate", type=Fraction, metavar="HZ", help="its rate, if the recording does not state it")
    parser.add_argument("--unit", help="its unit, if the recording does not state it: uS, adc, ...")
    parser.add_argument("--adc-bits", type=int, default=10, help="resolution for --unit adc (default: 10)")
    parser.add_argument("--predictions", type=path_argument, required=True, help="a file written by ekd-edge --json")
    parser.add_argument(
        "--labels", type=path_argument, help="ratings of the trials (default: labels.csv next to the signal)"
    )
    parser.add_argument("--threshold", type=float, default=5.0, help="ratings above it are high (default: 5)")
    parser.add_argument("--title", default="Skin conductance and predictions")
    parser.add_argument("--synthetic", action="store_true", help="say in the title that the data is synthetic")
    parser.add_argument("-o", "--output", type=path_argument, required=True, help="the PNG, SVG or PDF to write")
    return parser


def _draw_target(axis: "Axes", target: str, windows: Sequence[PredictedWindow], unit: float) -> None:
    ends = np.array([window.end_s for window in windows]) / unit
    high = np.array([window.probabilities[target] for window in windows])
    withheld = np.array([window.withheld for window in windows])
    axis.axhline(_HIGH_SHARE, color="black", linewidth=0.8, linestyle="--")
    axis.plot(ends, np.where(withheld, np.nan, high), color="#606060", linewidth=0.8, zorder=2)
    for chosen, color, name in (
        (~withheld & (high > _HIGH_SHARE), _HIGH, "predicted high"),
        (~withheld & (high <= _HIGH_SHARE), _LOW, "predicted low"),
    ):
        axis.scatter(ends[chosen], high[chosen], s=14, color=color, label=name, zorder=3, linewidths=0)
    if withheld.any():
        axis.scatter(
            ends[withheld], high[withheld], s=20, marker="x", color=_WITHHELD, label="withheld (bad signal)", zorder=3
        )
    axis.set_ylim(-0.04, 1.04)
    axis.set_ylabel(f"P(high {target})")


def _shade(axis: "Axes", target: str, trials: Sequence[Trial], threshold: float, unit: float) -> None:
    rated = [trial for trial in trials if target in trial.ratings]
    for high, color, name in ((True, _HIGH, "rated high"), (False, _LOW, "rated low")):
        label: str | None = name
        for trial in rated:
            if (trial.ratings[target] > threshold) is high:
                axis.axvspan(
                    trial.start_s / unit, trial.end_s / unit, color=color, alpha=0.13, linewidth=0, label=label
                )
                label = None


def _save(figure: "Figure", path: Path) -> None:
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        raise ConfigError(f"cannot write {path}: name a file that ends in .png, .svg or .pdf")
    try:
        figure.savefig(path, dpi=130)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error


if __name__ == "__main__":
    sys.exit(main())
