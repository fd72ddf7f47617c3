"""Formats of figures (percentages, differences, intervals) and of times, the same in every command."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ekd_edge.metrics import Difference

__all__ = ["change", "interval", "origin", "percent", "points", "utc_text"]

_MINUTE_MS = 60_000
_FIRST_S, _END_S = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (1, 9999))


def percent(share: float) -> str:
    """0.7654 -> "76.5%"."""
    return f"{share:.1%}"


def points(difference: float) -> str:
    """A difference of shares in percentage points: 0.0123 -> "+1.23"."""
    return f"{100 * difference:+.2f}"


def interval(low: float, high: float) -> str:
    """The ends of an interval of differences: "-0.77 to +1.25"."""
    return f"{points(low)} to {points(high)}"


def change(difference: "Difference") -> str:
    """A difference of shares in percentage points, with its interval and the number of subjects."""
    mean = f"{points(difference.mean)} points"
    if difference.low is None or difference.high is None:
        return f"{mean} (one subject: no interval)"
    return f"{mean} (95% interval {interval(difference.low, difference.high)}, {difference.subjects} subjects)"


def origin(synthetic: bool) -> str:
    """The mark behind a figure that was measured on synthetic data; empty for recorded people."""
    return " [synthetic data]" if synthetic else ""


def utc_text(utc_s: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601 in UTC with milliseconds, such as 2026-11-30T09:15:02.250Z.

    None where the time is unknown, not finite or outside of the years 1 to 9998.
    """
    if utc_s is None or not _FIRST_S <= utc_s < _END_S:
        return None
    minute, milliseconds = divmod(round(utc_s * 1000), _MINUTE_MS)
    second, milliseconds = divmod(milliseconds, 1000)
    return f"{_minute_text(minute)}:{second:02}.{milliseconds:03}Z"


@lru_cache(maxsize=64)
def _minute_text(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).isoformat()[: len("2026-11-30T09:15")]
