"""Decoder for a Seeed Grove GSR sensor v1.2 on an Arduino with Seeed's example sketch.

Source: Seeed wiki, "Grove - GSR Sensor": R = (1024 + 2 x) * 10 kOhm / (zero - x), where x is the 10-bit reading and
zero is the reading with open electrodes (512 with the factory setting of the potentiometer). Each line is the mean of
ten readings. A reading takes 0.112 ms and is followed by a delay of 5 ms, so a line takes 51.1 ms (19.5 Hz).
"""

from fractions import Fraction

from firmware_bridge.devices.csv.decoder import CsvDecoder
from firmware_bridge.devices.csv.sniff import at_grove_rate, bare_counts
from firmware_bridge.devices.emulator import Emulator
from firmware_bridge.devices.registry import DeviceFormat, ReceivedBytes, check_settings
from firmware_bridge.devices.stream import Declared, StreamDecoder, StreamOptions
from firmware_bridge.devices.waveform import Waveform
from firmware_bridge.errors import ConfigError
from firmware_bridge.units import Unit

__all__ = ["BAUD", "FORMAT", "NOMINAL_HZ", "UNIT"]

BAUD = 9600
NOMINAL_HZ = Fraction(39, 2)
UNIT = Unit("divider", 10)


def _recognises(received: ReceivedBytes) -> bool:
    return bare_counts(received) and at_grove_rate(received) is True


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


_SETTINGS = {"zero": "reading with open electrodes (default: 512)"}

FORMAT = DeviceFormat(
    name="grove",
    about="Seeed Grove GSR v1.2 with Seeed's sketch, 9600 baud",
    baud=BAUD,
    open=_open,
    recognises=_recognises,
    emulate=_emulate,
    settings=_SETTINGS,
)
