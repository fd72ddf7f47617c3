"""Properties that a stream or a file declares in comments such as `# rate_hz: 128`."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from firmware_bridge.errors import FormatError
from firmware_bridge.rates import parse_rate

__all__ = ["Declared", "declared_by", "shortened"]

_COMMENT = re.compile(
    r"#\s*(rate_hz|sampling rate \(hz\)|unit|adc_bits|resolution)\s*:\s*=?\s*(\S+?)[\s,;]*", re.IGNORECASE
)
_LONGEST_NAME = 32


@dataclass(frozen=True, slots=True)
class Declared:
    """The declared properties of a stream without a HELLO; None for an unknown property.

    rate_hz: sampling rate. unit: unit of the readings, a name that `firmware_bridge.units.parse_unit` accepts.
    adc_bits: resolution of ADC counts. divider_zero: see `Unit`.
    """

    rate_hz: Fraction | None = None
    unit: str | None = None
    adc_bits: int | None = None
    divider_zero: float | None = None


def declared_by(comment: bytes, so_far: Declared) -> Declared:
    """Add the declaration of a comment line such as `# rate_hz: 128`. The first declaration of a property is kept.

    Raises FormatError if a declaration is invalid.
    """
    match = _COMMENT.fullmatch(comment.decode("utf-8", errors="replace"))
    if match is None:
        return so_far
    key, text = match[1].lower(), match[2]
    shown = shortened(match[0].strip())
    if key == "unit":
        return replace(so_far, unit=so_far.unit or shortened(text))
    if key in ("adc_bits", "resolution"):
        if not re.fullmatch("[0-9]{1,2}", text):
            raise FormatError(f"the comment {shown!r} is invalid: state the ADC's bits, such as 12")
        unit = so_far.unit or ("adc" if key == "resolution" else None)
        return replace(so_far, adc_bits=so_far.adc_bits or int(text), unit=unit)
    try:
        rate = parse_rate(text)
    except ValueError:
        raise FormatError(f"the comment {shown!r} is invalid: state the rate in Hz, such as 128") from None
    return replace(so_far, rate_hz=so_far.rate_hz or rate)


def shortened(text: str, longest: int = _LONGEST_NAME) -> str:
    """The text for a message, shortened, without control characters that a terminal would obey."""
    short = text if len(text) <= longest else f"{text[:longest]}..."
    return "".join(character if character.isprintable() else "?" for character in short)
