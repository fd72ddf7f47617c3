"""`ekd-firmware flash` compiles the sensor's firmware and writes it to an ATmega328P board with avrdude."""

import argparse

from firmware_bridge.cli.arguments import add_port_argument, count, port_of
from firmware_bridge.cli.build import add_build_arguments, settings_of
from firmware_bridge.firmware.toolchain import flash
from firmware_bridge.serial_port.ports import check_port

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `flash`."""
    add_port_argument(parser, "the board's serial port, such as /dev/ttyUSB0")
    parser.add_argument(
        "--programmer", metavar="NAME", default="arduino", help="avrdude's name of the programmer (default: arduino)"
    )
    parser.add_argument(
        "--baud",
        metavar="N",
        type=count,
        default=115200,
        help="baud rate of the bootloader; an old Nano has 57600 (default: 115200)",
    )
    add_build_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Compile the firmware and write it to the board."""
    port = port_of(options)
    check_port(port)
    flash(port, options.folder, settings_of(options), options.programmer, options.baud)
