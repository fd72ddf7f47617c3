"""What is done to a model file once it is there: `--sign KEY`, `--c-array`; and `--new-key KEY`. Runs without torch."""

import argparse
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ekd_edge.errors import ConfigError
from ekd_edge.model.file import load_model_file
from ekd_export.convert.c_source import write_c_source
from ekd_export.signing import make_key, read_private_key, sign_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["add_arguments", "begin", "finish"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The three flags. With a .tflite file in the run's place, that file is signed or turned into C, nothing else."""
    parser.add_argument("--sign", metavar="KEY", type=Path, help="sign the file with this ed25519 key")
    parser.add_argument("--c-array", action="store_true", help="write the int8 model as C source beside the file too")
    parser.add_argument("--new-key", metavar="KEY", type=Path, help="make a key and its public key KEY.pub, then stop")


def begin(args: argparse.Namespace) -> "tuple[Ed25519PrivateKey | None, list[str] | None]":
    """The key to sign with; and, where no run is to be exported, the lines that say what was done instead.

    Raises EkdError where a key cannot be made or used, or the flags do not fit together.
    """
    if args.new_key is not None:
        return None, _new_key(args.new_key)
    key = read_private_key(args.sign) if args.sign is not None else None
    if args.run is not None and args.run.suffix == ".tflite" and not args.run.is_dir():
        if key is None and not args.c_array:
            raise ConfigError(f"{args.run} is a model file already: name a run, or say --sign KEY or --c-array")
        return key, finish(args.run, key, args.c_array)
    if args.c_array and not args.int8:
        raise ConfigError("--c-array writes the int8 model as C source: add --int8")
    return key, None


def finish(path: Path, key: "Ed25519PrivateKey | None", c_array: bool) -> list[str]:
    """Sign a model file, write its C source, and say so, a line each.

    Raises EkdError where one of it cannot be done; the model file itself stays whole.
    """
    lines = []
    if key is not None:
        lines.append(f"signed     {path} by {sign_file(path, key)}")
    if c_array:
        model_file = load_model_file(path)
        written = write_c_source(model_file, _arena_bytes(model_file.flatbuffer))
        lines.append(f"C source   {', '.join(map(str, written))}")
    return lines


def _new_key(path: Path) -> list[str]:
    public_path = make_key(path)
    return [
        f"key        {path} signs: `ekd-export --sign {path}`; keep it where models are made",
        f"public     {public_path} is for the Pi: `ekd-edge --trust {public_path.name}` runs what {path.name} signed, "
        "and nothing else",
    ]


def _arena_bytes(flatbuffer: bytes) -> int | None:
    if find_spec("ekd_export.quantization.micro") is None:
        return None
    arena: int | None = import_module("ekd_export.quantization.micro").arena_bytes(flatbuffer)
    return arena
