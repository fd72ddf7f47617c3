"""`ekd-export [RUN]`: write a run's student as one model file, with a verdict on what quantization changes."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from ekd_edge.errors import ConfigError
from ekd_export.cli.c_source import c_source_line, measured_arena
from ekd_export.cli.new_key import key_lines
from ekd_export.cli.sign import signed_line
from ekd_export.cli.summary import to_json, to_text
from ekd_export.convert.c_source import write_c_source
from ekd_export.quantization.recipes import RECIPES
from ekd_export.run_export import ONNX_PACKAGES, export, open_run
from ekd_export.save import write_signer
from ekd_export.signing import new_key, read_private_key, sign, sign_in_place
from ekd_train.process_tuning import let_idle_threads_sleep
from firmware_bridge.cli.arguments import path_argument
from firmware_bridge.dependencies import require_packages
from firmware_bridge.printable import printable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["NOT_PASSED", "add_arguments", "run"]

NOT_PASSED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `export`."""
    parser.add_argument(
        "run", metavar="RUN", type=path_argument, nargs="?", help="the run folder (default: the newest run in runs/)"
    )
    quantization = parser.add_mutually_exclusive_group()
    quantization.add_argument(
        "--int8", action="store_true", help="quantize to integers only, input and output included"
    )
    quantization.add_argument(
        "--recipe",
        choices=list(RECIPES),
        metavar="NAME",
        help="quantize by another recipe: "
        + "; ".join(f"{recipe.name}: {recipe.about}" for recipe in RECIPES.values()).replace("%", "%%")
        + " (--int8 is static)",
    )
    parser.add_argument(
        "--max-drop",
        metavar="FRACTION",
        type=float,
        help="sign off: the change of accuracy and macro-F1 that is allowed, such as 0.01 for one point; exit status 3 "
        "where the verdict is FAILED or UNDECIDED",
    )
    parser.add_argument("--onnx", action="store_true", help="also write the float student as ONNX, next to the file")
    parser.add_argument(
        "-o",
        "--output",
        "--out",
        metavar="FILE",
        type=path_argument,
        help="the file to write (default: RUN/student-RECIPE.tflite)",
    )
    parser.add_argument("--sign", metavar="KEY", type=path_argument, help="sign the written file with this ed25519 key")
    parser.add_argument("--c-source", action="store_true", help="also write the int8 model as C99 source")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on stdout")
    parser.add_argument("--c-array", action="store_true", dest="c_source", help=argparse.SUPPRESS)
    parser.add_argument("--new-key", metavar="KEY", type=path_argument, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Export, or run the command of an old spelling; returns 3 where the verdict is not PASSED."""
    let_idle_threads_sleep()
    if options.new_key is not None:
        _notify_old_spelling("--new-key KEY", f"new-key {options.new_key}")
        print("\n".join(key_lines(options.new_key, new_key(options.new_key))))
        return 0
    if options.onnx:
        require_packages("--onnx", *ONNX_PACKAGES)
    key = read_private_key(options.sign) if options.sign is not None else None
    if options.run is not None and options.run.suffix == ".tflite" and not options.run.is_dir():
        return _process_model_file(options, key)
    recipe = RECIPES[options.recipe or ("static" if options.int8 else "float32")]
    if options.c_source and recipe.kind != "int8":
        raise ConfigError("--c-source writes the int8 model as C source: add --int8")
    opened = open_run(options.run)
    _notify(f"exporting the student of {opened.path} ...")
    try:
        result = export(
            opened,
            recipe,
            max_drop=options.max_drop,
            output=options.output,
            onnx=options.onnx,
            notify=_notify,
        )
    except KeyboardInterrupt:
        print("\nekd-export: stopped, nothing was written", file=sys.stderr)
        return 130
    if key is not None:
        signed = sign_in_place(result.path, key)
        write_signer(result.path, result.report, signed.signer)
        _notify(signed_line(signed))
    if options.c_source:
        arena_bytes = measured_arena(result.model_file.flatbuffer)
        _notify(c_source_line(write_c_source(result.model_file, arena_bytes=arena_bytes), result.model_file.manifest))
    print(json.dumps(to_json(result)) if options.json else to_text(result))
    return NOT_PASSED if result.verdict.passed is False else 0


def _process_model_file(options: argparse.Namespace, key: "Ed25519PrivateKey | None") -> int:
    """The old spellings `FILE.tflite --sign KEY` and `FILE.tflite --c-array`."""
    path = options.run
    if key is None and not options.c_source:
        raise ConfigError(
            f"{path} is a model file already: name a run, or write `ekd-export sign {path} --key KEY` or "
            f"`ekd-export c-source {path}`"
        )
    if key is not None:
        _notify_old_spelling("FILE --sign KEY", f"sign {path} --key {options.sign}")
        print(signed_line(sign(path, key, options.output)))
    if options.c_source:
        _notify_old_spelling("FILE --c-array", f"c-source {path}")
        from ekd_edge.model.file import load_model_file

        model_file = load_model_file(path)
        paths = write_c_source(model_file, arena_bytes=measured_arena(model_file.flatbuffer))
        print(c_source_line(paths, model_file.manifest))
    return 0


def _notify_old_spelling(old: str, new: str) -> None:
    _notify(f"ekd-export: `ekd-export {old}` will be removed in the next version: write `ekd-export {new}`")


def _notify(message: str) -> None:
    print(printable(message), file=sys.stderr, flush=True)
