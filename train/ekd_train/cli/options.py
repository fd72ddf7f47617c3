"""Options and final output that several `ekd-train` commands share."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from ekd_train.config import TrainConfig, describe_preset, load_preset, preset_names
from firmware_bridge.cli.arguments import path_argument, thread_count
from firmware_bridge.dependencies import require_packages

if TYPE_CHECKING:
    from ekd_train.run import Run

__all__ = [
    "DEFAULT_PRESET",
    "add_compute_arguments",
    "add_keep_bad_argument",
    "add_scale_argument",
    "add_setup_arguments",
    "check_training_packages",
    "config_of",
    "preset_list",
    "print_run",
    "resume_hint",
]

DEFAULT_PRESET = "smoke"


def add_compute_arguments(parser: argparse.ArgumentParser) -> None:
    """`--device`, `--threads` and `--json`."""
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=thread_count, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on stdout")


def add_setup_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a new run."""
    parser.add_argument("--preset", help=f"a shipped preset or a .toml file (default: {DEFAULT_PRESET})")
    parser.add_argument("--data", help="synthetic, synthetic:hard, recordings:FOLDER, deap:FOLDER or hci:FOLDER")
    add_scale_argument(parser)
    parser.add_argument("--target", action="append", help="the rating to predict; repeat it for several")
    parser.add_argument(
        "--split", help="holdout (default), leave-one-out, k-fold:K, or trial-leaky (overstates accuracy)"
    )
    add_keep_bad_argument(parser)
    add_set_argument(parser)
    parser.add_argument(
        "-o",
        "--output",
        "--out",
        dest="output",
        type=path_argument,
        metavar="RUN",
        help="the run folder (default: runs/TIME-PRESET)",
    )


def add_keep_bad_argument(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """`--keep-bad-windows`."""
    parser.add_argument(
        "--keep-bad-windows",
        action="store_true",
        help="train and test also on windows whose label a device withholds for their signal quality (default: leave "
        "them out)",
    )


def add_scale_argument(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """`--scale`."""
    parser.add_argument(
        "--scale",
        metavar="LOW..HIGH",
        help="the scale of the ratings of recordings:FOLDER, such as 1..5; they are mapped to 1..9, the scale of the "
        "threshold (default: 1..9, or as the header of a column states it)",
    )


def add_set_argument(parser: argparse.ArgumentParser) -> None:
    """`--set KEY=VALUE`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting, such as student.epochs=3; ekd-train config lists them",
    )


def preset_list() -> str:
    """Return the shipped presets, one per line, for a command's help."""
    width = max(map(len, preset_names()))
    lines = [f"  {name:<{width}}  {describe_preset(name)}" for name in preset_names()]
    return "\n".join(["presets:", *lines])


def config_of(options: argparse.Namespace) -> TrainConfig:
    """Return the configuration of the options of `add_setup_arguments`. Raises ConfigError."""
    from ekd_train.data.datasets.rating_scale import with_scale
    from ekd_train.data.splits import parse_split

    config = load_preset(options.preset or DEFAULT_PRESET)
    data = options.data
    if options.scale is not None:
        data = with_scale(data or config.data, options.scale)
    changes = [f"data={json.dumps(data)}"] if data else []
    changes += [f"targets={json.dumps(options.target)}"] if options.target else []
    if options.split:
        changes += [f"split.{key}={value}" for key, value in parse_split(options.split).items()]
    changes += ["signal.keep_bad_windows=true"] if options.keep_bad_windows else []
    return config.override(changes + options.set)


def check_training_packages() -> None:
    """Raise ConfigError if a package that training needs is not installed."""
    require_packages("training", "torch", "scipy", "safetensors", "rich")


def resume_hint() -> int:
    """Print how to resume after Ctrl-C; return the exit status."""
    print("\nekd-train: stopped; --resume RUN continues from the last finished epoch", file=sys.stderr)
    return 130


def print_run(run: "Run", next_command: str, as_json: bool) -> None:
    """Print a run's results: as one JSON object, or as text with the next command."""
    from ekd_edge.formatting import origin as mark
    from ekd_train.data.left_out import STATE_TITLES, describe_quality
    from ekd_train.data.splits import LEAKY_WARNING, SubjectSplit

    leaky = not isinstance(run.split, SubjectSplit)
    if as_json:
        print(json.dumps({**({"warning": LEAKY_WARNING} if leaky else {}), "run": str(run.path), **run.results}))
        return
    if leaky:
        print(LEAKY_WARNING)
    origin = "synthetic data, " if run.synthetic else ""
    for name in ("teacher", "student"):
        if name in run.results and "test" in run.results[name]:
            test = run.results[name]["test"]
            print(
                f"{name}: accuracy {test['accuracy']:.1%}, macro-F1 {test['macro_f1']:.1%}"
                f" ({origin}{test['subjects']} {'subjects, leaky split' if leaky else 'held-out subjects'})"
            )
        for state, scores in run.results.get(name, {}).get("test", {}).get("states", {}).items():
            print(
                f"  running mean {STATE_TITLES[state]}: accuracy {scores['accuracy']:.1%}, "
                f"macro-F1 {scores['macro_f1']:.1%}{mark(run.synthetic)}"
            )
    if quality := run.results.get("signal_quality"):
        print(f"{describe_quality(quality)}{mark(run.synthetic)}")
    print(f"\nrun folder: {run.path}\nnext: {next_command}")
