"""Builds the firmware, its tests and its simulator from the sources in `csrc`, and flashes the firmware."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from firmware_bridge.errors import ConfigError, PortError
from firmware_bridge.home import home_folder
from firmware_bridge.suggestions import did_you_mean

__all__ = ["SETTINGS", "SOURCES", "Target", "build", "default_folder", "flash", "missing_tools"]

SOURCES = Path(__file__).parents[1] / "csrc"

SETTINGS = {
    "OPEN_COUNT": "13-bit count with open electrodes (default: 4096)",
    "OPEN_MARGIN": "margin below OPEN_COUNT in which an electrode counts as off (default: 8)",
    "SERIES_OHM": "series resistance of the front end in Ohm (default: 10000)",
    "ADC_INPUT": "analog input, 0 for A0 (default: 0)",
    "VREF_MV": "reference voltage of the converter in mV (default: 5000)",
    "DEVICE_ID": "0x and 16 hex digits (default: generated at the first boot)",
}

Target = Literal["firmware", "host", "fuzz", "simulator", "sketch"]

_PRODUCTS: dict[Target, tuple[str, str]] = {
    "firmware": ("all", "ekd.elf"),
    "host": ("host", "libekd_frame.so"),
    "fuzz": ("fuzz", "fuzz"),
    "simulator": ("simulator", "simulator"),
    "sketch": ("sketch", "sketch.elf"),
}
_AVR = ("make", "avr-gcc", "avr-objcopy")
_NEEDS: dict[Target, tuple[str, ...]] = {
    "firmware": _AVR,
    "host": ("make", "cc"),
    "fuzz": ("make", "cc"),
    "simulator": ("make", "cc", "simavr/sim_avr.h"),
    "sketch": _AVR,
}
_PACKAGES = {
    "make": "make",
    "cc": "gcc libc6-dev",
    "avr-gcc": "gcc-avr avr-libc",
    "avr-objcopy": "binutils-avr",
    "avrdude": "avrdude",
    "simavr/sim_avr.h": "libsimavr-dev libelf-dev",
}


def default_folder() -> Path:
    """The default build folder, in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or home_folder() / ".cache") / "ekd" / "firmware"


def missing_tools(target: Target) -> str | None:
    """A sentence with the tools to install for this target, or None if all are installed."""
    return _missing(_NEEDS[target])


def build(target: Target = "firmware", folder: Path | None = None, settings: Mapping[str, str] | None = None) -> Path:
    """Build a target.

    Args:
        target: the firmware or another target.
        folder: the build folder; None for `default_folder`.
        settings: settings of the firmware, see `SETTINGS`.

    Returns:
        The path of the product. For the firmware this is the ELF file; its .hex file is in the same folder.

    Raises:
        ConfigError: a tool is missing, a setting is unknown, or the build fails.
    """
    folder = default_folder() if folder is None else folder
    if (missing := missing_tools(target)) is not None:
        raise ConfigError(missing)
    goal, product = _PRODUCTS[target]
    folder.mkdir(parents=True, exist_ok=True)
    _make([goal, f"BUILD={folder.resolve()}", *_assignments(settings or {}, folder)], "the build failed")
    return folder / product


def flash(
    port: str,
    folder: Path | None = None,
    settings: Mapping[str, str] | None = None,
    programmer: str = "arduino",
    baud: int = 115200,
) -> None:
    """Build the firmware and write it to the board with avrdude, which prints its progress.

    Args:
        port: the board's serial port.
        folder: the build folder; None for `default_folder`.
        settings: settings of the firmware, see `SETTINGS`.
        programmer: avrdude's name of the programmer.
        baud: baud rate of the bootloader; an old Nano has 57600.

    Raises:
        ConfigError: a tool is missing, a setting is unknown, or the build fails.
        PortError: avrdude fails.
    """
    folder = default_folder() if folder is None else folder
    if (missing := _missing((*_AVR, "avrdude"))) is not None:
        raise ConfigError(missing)
    build("firmware", folder, settings)
    goal = ["flash", f"BUILD={folder.resolve()}", f"PORT={port}", f"PROGRAMMER={programmer}", f"FLASH_BAUD={baud}"]
    done = subprocess.run(["make", "-s", "-C", str(SOURCES), *goal, *_assignments(settings or {}, folder)], check=False)
    if done.returncode != 0:
        raise PortError(
            f"avrdude could not write to {port}: close other programs that use it, and check the port and the "
            "bootloader's baud rate (57600 for an old Nano)"
        )


def _missing(tools: tuple[str, ...]) -> str | None:
    absent = [tool for tool in tools if not _is_installed(tool)]
    if not absent:
        return None
    packages = " ".join(dict.fromkeys(_PACKAGES[tool] for tool in absent))
    is_or_are = "is" if len(absent) == 1 else "are"
    return f"{' and '.join(absent)} {is_or_are} not installed: run `sudo apt install {packages}`"


def _is_installed(tool: str) -> bool:
    if tool.endswith(".h"):
        return any((Path(root) / tool).exists() for root in ("/usr/include", "/usr/local/include"))
    return shutil.which(tool) is not None


def _assignments(settings: Mapping[str, str], folder: Path) -> list[str]:
    """The settings as arguments of make. The old products are deleted if the settings have changed."""
    for name, value in settings.items():
        if name not in SETTINGS and name != "TEST_HANG_AFTER_BLOCKS":
            hint = did_you_mean(name, SETTINGS)
            raise ConfigError(f"the firmware has no setting {name}: it has {', '.join(SETTINGS)}{hint}")
        if not value.removeprefix("0x").isalnum():
            raise ConfigError(f"{name}={value} is not a number: write a decimal or 0x number")
    lines = sorted(f"{name}={value}" for name, value in settings.items())
    record = folder / "settings"
    if not record.exists() or record.read_text() != "\n".join(lines):
        for product in ("ekd.elf", "ekd.hex"):
            (folder / product).unlink(missing_ok=True)
        record.write_text("\n".join(lines))
    return lines


def _make(arguments: list[str], failure: str) -> None:
    done = subprocess.run(["make", "-s", "-C", str(SOURCES), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = next(
            (line for line in done.stderr.splitlines() if "error" in line or "too large" in line), done.stderr
        )
        raise ConfigError(f"{failure}: {reason.strip()[:300]}")
