"""A Seeed Grove GSR sensor v1.2 on an Arduino that runs Seeed's example sketch: a mean of ten readings a line.

Source: Seeed wiki, "Grove - GSR Sensor": R = (1024 + 2 x) * 10 kOhm / (zero - x), x the 10-bit reading and zero the
reading with open electrodes, 512 as the potentiometer leaves the factory. Ten readings (0.112 ms each) with a delay
of 5 ms after each make a line every 51.1 ms: 19.5 Hz, less than the 128 Hz that other sketches are made for.
"""

from fractions import Fraction

from firmware_bridge.devices.csv.decoder import CsvDecoder
from firmware_bridge.devices.csv.sniff import at_grove_pace, bare_counts
from firmware_bridge.devices.emulator import Emulator
from firmware_bridge.devices.registry import DeviceFormat, Heard, check_settings
from firmware_bridge.devices.stream import Declared, StreamDecoder, StreamOptions
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.errors import ConfigError
from firmware_bridge.units import Unit

__all__ = ["BAUD", "FORMAT", "NOMINAL_HZ", "UNIT"]

BAUD = 9600
NOMINAL_HZ = Fraction(39, 2)
UNIT = Unit("divider", 10)


def _recognises(heard: Heard) -> bool:
    return bare_counts(heard) and at_grove_pace(heard) is True


def _open(options: StreamOptions) -> StreamDecoder:
    check_settings("grove", options.settings, _SETTINGS)
    zero = options.settings.get("zero")
    if zero is not None and not (zero.isdecimal() and 0 < int(zero) < 1024):
        raise ConfigError(f"grove:zero={zero} is invalid: give the reading with open electrodes, 1 to 1023")
    declared = Declared(NOMINAL_HZ, "grove", 10, None if zero is None else float(zero))
    return CsvDecoder(options.rate_hz, options.live, options.hint, not options.live, declared)


def _emulate(waveform: Waveform) -> Emulator:
    from firmware_bridge.devices.grove.emulator import GroveEmulator

    return GroveEmulator(waveform)


_SETTINGS = {"zero": "reading with open electrodes (512)"}

FORMAT = DeviceFormat(
    name="grove",
    about="Seeed Grove GSR v1.2 with Seeed's sketch, 9600 baud",
    baud=BAUD,
    open=_open,
    recognises=_recognises,
    emulate=_emulate,
    settings=_SETTINGS,
)
