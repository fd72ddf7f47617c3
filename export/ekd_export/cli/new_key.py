"""`ekd-export new-key KEY`: make an ed25519 key pair to sign model files with. Runs without torch."""

import argparse
from pathlib import Path

from ekd_export.signing import new_key
from firmware_bridge.cli.arguments import path_argument

__all__ = ["add_arguments", "key_lines", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `new-key`."""
    parser.add_argument(
        "key", metavar="KEY", type=path_argument, help="the private key to write; the public one is KEY.pub"
    )


def run(options: argparse.Namespace) -> None:
    """Make the key and print the purpose of each file."""
    print("\n".join(key_lines(options.key, new_key(options.key))))


def key_lines(path: Path, public_path: Path) -> list[str]:
    """One line for each of the two files."""
    return [
        f"key        {path} signs: `ekd-export sign FILE --key {path}`; keep it where models are made",
        f"public     {public_path} is for the Pi: `ekd-edge --trust {public_path.name}` runs only what {path.name} "
        "signed",
    ]
