"""`ekd-export sign FILE --key KEY`: write a signed copy of a model file. Runs without torch."""

import argparse

from ekd_export.signing import Signed, sign
from firmware_bridge.cli.arguments import path_argument

__all__ = ["add_arguments", "run", "signed_line"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sign`."""
    parser.add_argument("file", metavar="FILE", type=path_argument, help="the model file; it is not changed")
    parser.add_argument(
        "--key",
        metavar="KEY",
        type=path_argument,
        required=True,
        help="the ed25519 key, made by `ekd-export new-key KEY`",
    )
    parser.add_argument(
        "-o",
        "--output",
        "--out",
        metavar="FILE",
        type=path_argument,
        help="the signed copy (default: NAME.signed.tflite next to NAME.tflite)",
    )


def run(options: argparse.Namespace) -> None:
    """Sign and print the copy's path."""
    print(signed_line(sign(options.file, options.key, options.output)))


def signed_line(signed: Signed) -> str:
    """The output line with the signed file and its key."""
    return f"signed     {signed.path} by {signed.signer}"
