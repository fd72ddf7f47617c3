"""`ekd-export`: a trained student becomes one model file."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ekd_edge.errors import EkdError, ExportError
from ekd_export.cli.postprocess import add_arguments, begin, finish
from ekd_export.cli.summary import to_json, to_text
from ekd_export.quantization.recipes import RECIPES, Recipe
from ekd_train.process_tuning import let_idle_threads_sleep

if TYPE_CHECKING:
    from ekd_export.export import Exported

__all__ = ["main"]

NOT_SHOWN = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, export, print; returns the exit status, 3 where --max-drop was asked for and cannot be shown to hold."""
    args = _parser().parse_args(argv)
    recipe = RECIPES[args.recipe or ("static" if args.int8 else "float32")]
    args.int8 = recipe.kind == "int8"
    let_idle_threads_sleep()
    try:
        key, done = begin(args)
        if done is not None:
            print("\n".join(done))
            return 0
        exported = _export(args, recipe)
        for line in finish(exported.model_file.path, key, args.c_array):
            _report(line)
    except EkdError as error:
        print(f"ekd-export: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nekd-export: stopped, nothing was written", file=sys.stderr)
        return 130
    print(json.dumps(to_json(exported)) if args.json else to_text(exported))
    return NOT_SHOWN if exported.verdict.passed is False else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ekd-export",
        description="Write a run's student as one self-describing .tflite file for ekd-edge.",
    )
    parser.add_argument(
        "run",
        type=Path,
        nargs="?",
        help="the run folder (default: the newest run in runs/), or a model file to --sign or to write as --c-array",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--int8", action="store_true", help="quantize: integers alone, input and output included")
    how.add_argument(
        "--recipe",
        choices=list(RECIPES),
        help="another way to quantize: "
        + "; ".join(f"{recipe.name}: {recipe.about}" for recipe in RECIPES.values()).replace("%", "%%")
        + " (--int8 is static)",
    )
    parser.add_argument(
        "--max-drop",
        metavar="FRACTION",
        type=float,
        help="sign off: the accuracy and macro-F1 that quantization may cost, such as 0.01 for one point; exit status "
        "3 where the loss cannot be shown to be within it",
    )
    parser.add_argument("--onnx", action="store_true", help="write the float student as ONNX beside the file too")
    parser.add_argument("-o", "--output", type=Path, help="the file to write (default: RUN/student-RECIPE.tflite)")
    add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on stdout")
    return parser


def _export(args: argparse.Namespace, recipe: Recipe) -> "Exported":
    from ekd_edge.native_output import quiet

    try:
        with quiet():
            from ekd_export.export import default_output, export_run
            from ekd_train.run import Run, newest_run
    except ImportError as error:
        raise ExportError(f"{error.name} is missing: run `pip install 'ekd[export]'`") from error

    run = Run.load(args.run if args.run is not None else newest_run())
    _report(f"exporting the student of {run.path} ...")
    output = args.output or default_output(run, recipe)
    return export_run(run, recipe, output, _report, args.max_drop, args.onnx)


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
