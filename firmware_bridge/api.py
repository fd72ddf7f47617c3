"""`firmware_bridge.emulate` plays a recording, an array or a simulated person as a device on a pseudo-terminal."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.devices.registry import find_format
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.emulation.line_faults import parse_fault
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.emulation.waveforms import person_waveform, recorded_waveform
from firmware_bridge.errors import ConfigError
from firmware_bridge.rates import exact_rate

__all__ = ["emulate"]

_DEFAULT_HZ = Fraction(128)


def emulate(
    format_name: str = "ekd",
    waveform: str | Path | NDArray[np.float64] | None = None,
    *,
    rate_hz: Fraction | float | None = None,
    seed: int = 1,
    seconds: float | None = None,
    speed: float = 1.0,
    faults: Sequence[str] = (),
    link: str | Path | None = None,
) -> PtyDevice:
    """Emulate a sensor on a pseudo-terminal, which any program can open as a serial port.

        with firmware_bridge.emulate("bitalino", seconds=10) as emulated:
            with firmware_bridge.open_device(emulated.path) as device:
                for block in device.blocks():
                    print(block.first_index, block.values)

    Args:
        format_name: the device, such as "ekd", "csv", "grove", "shimmer3" or "bitalino".
        waveform: the path of a recording in CSV, an array of microsiemens of shape (n,), or None for a simulated
            person (synthetic).
        rate_hz: sampling rate of the waveform in Hz; None for the recording's rate, or 128 Hz without a recording.
        seed: seed of the simulated person.
        seconds: duration of the signal to send; None for all of it.
        speed: playback speed relative to real time; 0 sends as fast as the reader reads.
        faults: faults of the serial line, such as "reset@10" or "drop=0.01"; see
            `firmware_bridge.emulation.line_faults.FAULTS`.
        link: path of a symbolic link to create that points to the pseudo-terminal.

    Returns:
        A context manager with the `path` of the pseudo-terminal. The device starts when a program opens the path. It
        closes the pseudo-terminal when the whole waveform has been read, or at the end of the `with` block.

    Raises:
        ConfigError: the format or fault is unknown, or a number is out of range.
        PortError: the recording cannot be read, or the link cannot be created.
        FormatError: the recording does not state its rate or its unit.
    """
    rate = None if rate_hz is None else exact_rate(rate_hz, "rate_hz")
    if not 0 <= speed < float("inf"):
        raise ConfigError(f"speed is {speed}: give zero or a positive number")
    if seconds is not None and not 0 <= seconds < float("inf"):
        raise ConfigError(f"seconds is {seconds}: give zero or a positive number")
    format = find_format(format_name)
    parsed = [parse_fault(text) for text in faults]
    emulator = format.emulate(_waveform(waveform, rate, seed, seconds))
    return PtyDevice(Player(emulator, speed, faults=parsed), None if link is None else Path(link))


def _waveform(
    source: str | Path | NDArray[np.float64] | None, rate_hz: Fraction | None, seed: int, seconds: float | None
) -> Waveform:
    if source is None:
        return person_waveform(rate_hz or _DEFAULT_HZ, seed, seconds)
    if isinstance(source, str | Path):
        return recorded_waveform(Path(source), rate_hz, seconds=seconds)
    values = np.asarray(source, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ConfigError("the waveform must be a one-dimensional array of finite numbers, in microsiemens")
    rate = rate_hz or _DEFAULT_HZ
    return Waveform([values if seconds is None else values[: round(seconds * float(rate))]], rate)
