"""How figures read, the same in every command."""

from ekd_edge.evaluate import Difference

__all__ = ["change", "origin", "percent"]


def percent(share: float) -> str:
    """0.7654 -> "76.5%"."""
    return f"{share:.1%}"


def change(difference: Difference) -> str:
    """A difference of shares in percentage points, with its interval and what the interval rests on."""
    mean = f"{100 * difference.mean:+.2f} points"
    if difference.low is None or difference.high is None:
        return f"{mean} (one subject: no interval)"
    low, high = 100 * difference.low, 100 * difference.high
    return f"{mean} (95% interval {low:+.2f} to {high:+.2f}, {difference.subjects} subjects)"


def origin(synthetic: bool) -> str:
    """What to write behind a figure so that nobody takes synthetic data for people."""
    return " [synthetic data]" if synthetic else ""
