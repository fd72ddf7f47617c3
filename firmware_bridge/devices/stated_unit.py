"""The unit that a device or a file states for its readings."""

from firmware_bridge.devices.ekd.frame import Hello
from firmware_bridge.devices.stream import Declared, RawBlock
from firmware_bridge.errors import FormatError, SignalError
from firmware_bridge.units import Unit, parse_unit

__all__ = ["unit_of", "unit_of_declared", "unit_of_hello"]


def unit_of(block: RawBlock) -> Unit:
    """The unit of a block's readings. Raises FormatError if the stream does not state a valid unit."""
    return unit_of_hello(block.hello) if block.hello is not None else unit_of_declared(block.declared or Declared())


def unit_of_declared(declared: Declared) -> Unit:
    """The unit that lines or a table declare. Raises FormatError if they do not state a valid unit."""
    if declared.unit is None:
        raise FormatError(
            "the lines do not state their unit: state the unit, such as uS, or adc with its number of bits, or add the "
            "line '# unit: uS'"
        )
    if declared.adc_bits is None and parse_unit(declared.unit).kind in ("adc", "divider"):
        raise FormatError(
            f"the lines do not state the ADC's resolution: give the unit {declared.unit} with its number of bits"
        )
    return parse_unit(declared.unit, declared.adc_bits or 10, divider_zero=declared.divider_zero)


def unit_of_hello(hello: Hello) -> Unit:
    """The unit that a HELLO states by its front-end profile and calibration (PROTOCOL.md).

    Raises FormatError if the profile is unknown or the calibration is invalid.
    """
    a, b = hello.calibration
    try:
        if hello.profile == 0:
            return Unit("adc", hello.adc_bits, full_scale_us=a * 2**hello.adc_bits, offset_us=b)
        if hello.profile == 1:
            return Unit("divider", hello.adc_bits, reference_ohm=a, divider_zero=b or None)
    except SignalError as error:
        raise FormatError(f"the device's calibration is invalid ({error}): correct its HELLO") from error
    raise FormatError(f"the device's front-end profile {hello.profile} is unknown: update ekd, or give the unit")
