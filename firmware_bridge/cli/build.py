"""`ekd-firmware build` compiles the sensor's firmware and prints the path of the .hex file."""

import argparse

from firmware_bridge.cli.arguments import path_argument
from firmware_bridge.errors import ConfigError
from firmware_bridge.firmware.toolchain import SETTINGS, build, default_folder

__all__ = ["add_arguments", "add_build_arguments", "run", "settings_of"]

_SETTINGS = "settings: " + "; ".join(f"{name}: {about}" for name, about in SETTINGS.items())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `build`."""
    add_build_arguments(parser)


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `build` and `flash` share."""
    parser.epilog = _SETTINGS
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="a setting, see below; may be given several times",
    )
    parser.add_argument(
        "--folder", metavar="DIR", type=path_argument, help=f"the build folder (default: {default_folder()})"
    )


def run(options: argparse.Namespace) -> None:
    """Compile the firmware and print the path of the .hex file."""
    elf = build("firmware", options.folder, settings_of(options))
    print(elf.with_suffix(".hex"))


def settings_of(options: argparse.Namespace) -> dict[str, str]:
    """The firmware settings of the options `--set`. Raises ConfigError if one is not KEY=VALUE."""
    pairs = [text.partition("=") for text in options.settings]
    if any(not (name and value) for name, _, value in pairs):
        raise ConfigError("write settings as --set KEY=VALUE")
    return {name: value for name, _, value in pairs}
