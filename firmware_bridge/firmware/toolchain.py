"""Building the firmware, and what belongs to it, from the sources in `csrc`; flashing it."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from firmware_bridge.errors import ConfigError, PortError
from firmware_bridge.suggestions import did_you_mean

__all__ = ["SETTINGS", "SOURCES", "Target", "build", "default_folder", "flash", "missing_tools"]

SOURCES = Path(__file__).parents[1] / "csrc"

SETTINGS = {
    "OPEN_COUNT": "13-bit count with open electrodes (4096)",
    "OPEN_MARGIN": "counts below it at which an electrode is off (8)",
    "SERIES_OHM": "the front end's series resistance (10000)",
    "ADC_INPUT": "analog input, 0 for A0 (0)",
    "VREF_MV": "the converter's reference (5000)",
    "DEVICE_ID": "16 hex digits after 0x (made at first boot)",
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
    """Default folder of builds, in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ekd" / "firmware"


def missing_tools(target: Target) -> str | None:
    """What has to be installed for this target, in one sentence; None where all is there."""
    return _missing(_NEEDS[target])


def build(target: Target = "firmware", folder: Path | None = None, settings: Mapping[str, str] | None = None) -> Path:
    """The path of what was built: the firmware's ELF (its .hex is in the same folder), or another target.

    settings: see `SETTINGS`. Raises ConfigError where a tool is missing, a setting unknown, or the build fails.
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
    """Build the firmware and write it to the board at that port with avrdude, which prints its progress.

    baud: of the bootloader; an old Nano's is 57600. Raises ConfigError, or PortError where avrdude fails.
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
    absent = [tool for tool in tools if not _here(tool)]
    if not absent:
        return None
    packages = " ".join(dict.fromkeys(_PACKAGES[tool] for tool in absent))
    return f"{' and '.join(absent)} missing: sudo apt install {packages}"


def _here(tool: str) -> bool:
    if tool.endswith(".h"):
        return any((Path(root) / tool).exists() for root in ("/usr/include", "/usr/local/include"))
    return shutil.which(tool) is not None


def _assignments(settings: Mapping[str, str], folder: Path) -> list[str]:
    """The settings for make. Settings that differ from the last build's rebuild everything."""
    for name, value in settings.items():
        if name not in SETTINGS and name != "TEST_HANG_AFTER_BLOCKS":
            hint = did_you_mean(name, SETTINGS)
            raise ConfigError(f"the firmware has no setting {name}: it has {', '.join(SETTINGS)}{hint}")
        if not value.removeprefix("0x").isalnum():
            raise ConfigError(f"{name}={value} is not a number")
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
