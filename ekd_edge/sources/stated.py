"""What a sensor states of itself (HELLO, header, comments) next to what the user states: which of both is used."""

from dataclasses import dataclass
from fractions import Fraction

from firmware_bridge.devices.stated_unit import unit_of
from firmware_bridge.devices.stream import RawBlock
from firmware_bridge.rates import rate_text
from firmware_bridge.units import BITALINO_FULL_SCALE_US, Unit, parse_unit

__all__ = ["SensorOptions", "unit_of_readings", "unused_options"]


@dataclass(frozen=True, slots=True)
class SensorOptions:
    """Properties of a sensor that the user states; None leaves a property to the sensor's own messages.

    format: name of a device format, with its settings if any (`bitalino:channel=A2`), or "auto" for detection.
    rate_hz: the true sample rate; it overrides what the sensor states. unit: of the readings, likewise.
    baud: baud rate of a serial line.
    default_rate_hz, default_unit: used where the sensor states no rate, no unit; a device with a configurable rate is
    set to default_rate_hz.
    """

    format: str = "auto"
    rate_hz: Fraction | None = None
    unit: Unit | None = None
    baud: int | None = None
    default_rate_hz: Fraction | None = None
    default_unit: Unit | None = None


def unit_of_readings(block: RawBlock, options: SensorOptions) -> Unit:
    """The unit of a block's readings: the user's, else the stated one, else the user's default.

    A default completes a stated unit of the same kind without its resolution. Raises FormatError where the unit is
    unknown.
    """
    if options.unit is not None:
        return options.unit
    default, declared = options.default_unit, block.declared
    if default is None or block.hello is not None:
        return unit_of(block)
    if declared is None or declared.unit is None:
        return default
    if declared.adc_bits is None and default.kind == parse_unit(declared.unit).kind:
        return default
    return unit_of(block)


def unused_options(block: RawBlock, unit: Unit, options: SensorOptions, where: str, option: str) -> list[str]:
    """A sentence for each default of the user that is not used, as the sensor states something else.

    Args:
        block: of the sensor.
        unit: of its readings, see `unit_of_readings`.
        options: what the user states.
        where: the port or file.
        option: that names it on the command line, such as "--port".

    Returns:
        The sentences; empty where the statements agree.
    """
    sentences = []
    if (rate_hz := options.default_rate_hz) is not None and options.rate_hz is None and rate_hz != block.rate_hz:
        stated, given = rate_text(block.rate_hz), rate_text(rate_hz)
        sentences.append(_sentence(where, option, f"{stated} Hz", f"--rate {given}", f"rate={given}"))
    if (wanted := options.default_unit) is not None and options.unit is None and wanted != unit:
        override = f"unit={wanted.kind}"
        if wanted.kind in ("adc", "divider"):
            override += f",adc-bits={wanted.adc_bits}"
        if wanted.kind == "adc" and wanted.full_scale_us != BITALINO_FULL_SCALE_US:
            override += f",full-scale-us={wanted.full_scale_us:g}"
        sentences.append(_sentence(where, option, f"the unit {_unit(unit)}", f"--unit {_unit(wanted)}", override))
    return sentences


def _sentence(where: str, option: str, stated: str, given: str, override: str) -> str:
    name = where.replace("\\", "\\\\").replace(",", "\\,") if "," in where else where
    return f"{where} states {stated}: {given} is not used for it; write {option} '{name},{override}' to override"


def _unit(unit: Unit) -> str:
    return f"{unit.kind} with {unit.adc_bits} bits" if unit.kind in ("adc", "divider") else unit.kind
