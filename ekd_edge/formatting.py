"""Formats of figures (percentages, differences, intervals), the same in every command."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ekd_edge.metrics import Difference

__all__ = ["change", "interval", "origin", "percent", "points"]


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
