"""The metadata of recordings as JSON texts: source of readings, head of a file, mark. Invalid texts are rejected."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Final

from ekd_edge.errors import EkdError
from ekd_edge.model.strict_json import parse_object
from ekd_edge.signal.blocks import Baseline, SampleBlock, TimeAnchor
from firmware_bridge.printable import printable
from firmware_bridge.rates import parse_rate
from firmware_bridge.units import Unit

__all__ = [
    "LAST_SECOND",
    "MAX_INDEX",
    "Mark",
    "Source",
    "parse_head",
    "parse_mark",
    "parse_source",
    "source_of",
    "source_text",
]

MAX_INDEX: Final = 1 << 53
"""Upper limit of sample indices, which a float64 represents exactly."""

_MAX_SEGMENT: Final = 1 << 40
_MAX_NUMBER: Final = 1e15
LAST_SECOND: Final = 253_402_300_799.0
"""Of the year 9999."""


@dataclass(frozen=True, slots=True)
class Mark:
    """An event with a message. time_s: seconds since 1970 on the host's wall clock."""

    time_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """Metadata of the readings that follow. unit: None for microsiemens of an unknown device."""

    segment: int
    rate_hz: Fraction
    unit: Unit | None
    lead_off: bool
    baseline: Baseline | None
    anchor: TimeAnchor | None
    fault: str | None


def source_of(block: SampleBlock) -> Source:
    """The metadata of a block."""
    return Source(block.segment, block.rate_hz, block.unit, block.lead_off, block.baseline, block.anchor, block.fault)


def source_text(source: Source, run: str) -> str:
    """A source as JSON. run: id of the run."""
    return json.dumps({"run": run, **asdict(source), "rate_hz": str(source.rate_hz)})


def parse_source(text: bytes) -> tuple[str | None, int | None, Source] | None:
    """The run's id and the source's number (both None where absent) and the source; None for an invalid text."""
    try:
        data = parse_object(text)
        run, number = data.get("run"), data.get("source")
        if not (run is None or isinstance(run, str)) or not (number is None or type(number) is int):
            return None
        fault = data.get("fault")
        source = Source(
            _whole(data["segment"], _MAX_SEGMENT),
            parse_rate(_text(data["rate_hz"])),
            None if data["unit"] is None else _unit(data["unit"]),
            _flag(data["lead_off"]),
            None if data["baseline"] is None else _baseline(data["baseline"]),
            None if data.get("anchor") is None else _anchor(data["anchor"]),
            None if fault is None else printable(_text(fault)),
        )
    except (EkdError, ValueError, KeyError, TypeError, ArithmeticError):
        return None
    return run, number, source


def parse_head(text: bytes) -> dict[str, Any] | None:
    """The facts about a file and its run, with a whole number "ekd_recording"; None for an invalid text."""
    try:
        head = dict(parse_object(text))
        _whole(head["ekd_recording"], _MAX_SEGMENT)
        _number(head.get("smooth_s", 0.0), 0.0)
        if not 0 <= _number(head.get("margin", 0.0)) < 1:
            return None
    except (EkdError, ValueError, KeyError, TypeError, ArithmeticError):
        return None
    return head


def parse_mark(text: bytes) -> Mark | None:
    """A mark; None for an invalid text."""
    try:
        data = parse_object(text)
        return Mark(_number(data["time"], 0.0, LAST_SECOND), _text(data["text"]))
    except (EkdError, ValueError, KeyError, TypeError, ArithmeticError):
        return None


def _whole(value: Any, high: int) -> int:
    if type(value) is not int or not 0 <= value <= high:
        raise ValueError
    return value


def _number(value: Any, low: float = -_MAX_NUMBER, high: float = _MAX_NUMBER) -> float:
    if type(value) not in (int, float) or not low <= value <= high or not math.isfinite(value):
        raise ValueError
    return float(value)


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError
    return value


def _unit(data: Mapping[str, Any]) -> Unit:
    zero = data["divider_zero"]
    return Unit(
        data["kind"],
        _whole(data["adc_bits"], 32),
        _number(data["full_scale_us"]),
        _number(data["reference_ohm"]),
        None if zero is None else _number(zero),
        _number(data["offset_us"]),
    )


def _baseline(data: Mapping[str, Any]) -> Baseline:
    return Baseline(_number(data["mean"]), _number(data["variance"], 0.0), _number(data["seconds"], 0.0))


def _anchor(data: Mapping[str, Any]) -> TimeAnchor:
    index = data["index"]
    if type(index) is not int or abs(index) > MAX_INDEX:
        raise ValueError
    return TimeAnchor(index, _number(data["utc_s"], -LAST_SECOND / 100, LAST_SECOND))
