"""`ekd-train cache`: list the converted windows on disk, or delete them."""

import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `cache`."""
    parser.add_argument("--clear", action="store_true", help="delete all of them; they are converted again when needed")


def run(options: argparse.Namespace) -> None:
    """List or delete."""
    from ekd_train.data.cache.listing import clear, describe

    print(f"{clear() / 1e6:.1f} MB freed" if options.clear else describe())
