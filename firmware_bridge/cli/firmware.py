"""`ekd-firmware build` and `ekd-firmware flash`."""

import argparse
from pathlib import Path

from firmware_bridge.errors import ConfigError
from firmware_bridge.firmware.toolchain import SETTINGS, build, default_folder, flash
from firmware_bridge.serial_port.ports import check_port

__all__ = ["add_build", "add_flash"]

_SETTINGS = "settings: " + "; ".join(f"{name}: {about}" for name, about in SETTINGS.items())


def add_build(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "build",
        help="compile the firmware for an ATmega328P board (Arduino Uno, Nano)",
        description="Compile the sensor's firmware and print the path of the .hex file.",
        epilog=_SETTINGS,
    )
    _add_common(parser)
    parser.set_defaults(run=_build)


def add_flash(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "flash",
        help="compile the firmware and write it to a board",
        description="Compile the sensor's firmware and write it to an ATmega328P board with avrdude.",
        epilog=_SETTINGS,
    )
    parser.add_argument("port", metavar="PORT", help="the board's serial port, such as /dev/ttyUSB0")
    parser.add_argument("--programmer", metavar="NAME", default="arduino", help="avrdude's name of it (arduino)")
    parser.add_argument("--baud", metavar="N", type=int, default=115200, help="57600 for an old Nano (115200)")
    _add_common(parser)
    parser.set_defaults(run=_flash)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], dest="settings", help="a setting, see below"
    )
    parser.add_argument("--folder", metavar="DIR", type=Path, help=f"for what is built ({default_folder()})")


def _build(options: argparse.Namespace) -> None:
    elf = build("firmware", options.folder, _settings(options))
    print(elf.with_suffix(".hex"))


def _flash(options: argparse.Namespace) -> None:
    check_port(options.port)
    flash(options.port, options.folder, _settings(options), options.programmer, options.baud)


def _settings(options: argparse.Namespace) -> dict[str, str]:
    pairs = [text.partition("=") for text in options.settings]
    if any(not (name and value) for name, _, value in pairs):
        raise ConfigError("write settings as --set NAME=VALUE")
    return {name: value for name, _, value in pairs}
