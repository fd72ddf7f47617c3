"""`ekd-export c-source FILE`: write an int8 model file as C99 source for a microcontroller. Runs without torch."""

import argparse
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from ekd_edge.model.file import load_model_file
from ekd_edge.model.find import describe_signoff
from ekd_edge.model.manifest import Manifest
from ekd_export.convert.c_source import write_c_source
from firmware_bridge.cli.arguments import path_argument

__all__ = ["add_arguments", "c_source_line", "measured_arena", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `c-source`."""
    parser.add_argument("file", metavar="FILE", type=path_argument, help="an int8 model file")
    parser.add_argument(
        "-o",
        "--output",
        "--out",
        metavar="NAME.c",
        type=path_argument,
        help="the C file; NAME.h and ekd_signal.h are written next to it (default: next to FILE)",
    )


def run(options: argparse.Namespace) -> None:
    """Write the source and print its paths."""
    model_file = load_model_file(options.file)
    paths = write_c_source(model_file, options.output, arena_bytes=measured_arena(model_file.flatbuffer))
    print(c_source_line(paths, model_file.manifest))


def c_source_line(paths: Iterable[Path], manifest: Manifest) -> str:
    """The output line with the names of the C files, and the state of the sign-off where it did not pass."""
    signoff = describe_signoff(manifest)
    return f"C source   {', '.join(map(str, paths))}{f' ({signoff})' if signoff else ''}"


def measured_arena(flatbuffer: bytes) -> int | None:
    """The memory that the model needs in TFLite Micro; None where tflite-micro is not installed."""
    if find_spec("tflite_micro") is None:
        return None
    from ekd_export.quantization.micro import arena_bytes

    return arena_bytes(flatbuffer)
