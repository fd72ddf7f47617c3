"""Times of a table in seconds: the unit of the column, times of day, counters that wrap, and repeated times."""

from dataclasses import dataclass
from datetime import datetime, time
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import FormatError
from firmware_bridge.tables.rates import JITTER_S, estimate_rate, is_plausible

__all__ = ["Timing", "seconds_of_iso", "timing_of"]

_Floats = NDArray[np.float64]

_UNITS = {1.0: "seconds", 1e-3: "milliseconds", 1e-6: "microseconds", 1e-9: "nanoseconds"}
_NAMES = {1.0: "time_s", 1e-3: "time_ms", 1e-6: "time_us", 1e-9: "time_ns"}
_WRAP = 2.0**32
_USUAL_HZ = (0.9, 1100)
"""Rates by which one of several plausible units is chosen."""
_AGREEMENT = 1.05
"""Largest ratio of two rates that agree."""
_EPOCH_S = (5e8, 5e9)
"""Times since 1970 of the years 1985 to 2128."""
_REGULAR = 0.9
_LONGEST_BURST_S = 1.5
"""Largest distance of repeated times from even ones: whole seconds, or bursts of a second."""
_FEWEST_STAMPS = 6


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of a table.

    times_s: float64 (n,), or None where no time is lost and the rows follow each other evenly. rate_hz: the sampling
    rate. coarse: whether several rows have the same time.
    """

    times_s: _Floats | None
    rate_hz: Fraction
    coarse: bool = False


def seconds_of_iso(cell: bytes) -> float | None:
    """Seconds since 1970 of a date and time in ISO 8601, or since midnight of a time of day; None if it is neither."""
    text = cell.strip().decode("ascii", "replace").replace(",", ".")
    try:
        if "-" not in text[:5]:
            clock = time.fromisoformat(text.zfill(len(text) + (text.find(":") == 1)))
            return clock.hour * 3600.0 + clock.minute * 60.0 + clock.second + clock.microsecond * 1e-6
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    since = moment - datetime(1970, 1, 1, tzinfo=moment.tzinfo)
    if (offset := moment.utcoffset()) is not None:
        since -= offset
    return since.days * 86400.0 + since.seconds + since.microseconds * 1e-6


def timing_of(times: _Floats, tick_s: float | None, name: str, stated_hz: Fraction | None) -> Timing:
    """The times in seconds and the sampling rate.

    Args:
        times: of the column as written, float64 (n,).
        tick_s: unit of the column in seconds, None if its name does not state it.
        name: of the column, for messages.
        stated_hz: the rate that is stated elsewhere, or None. It is used if the times agree with it.

    Returns:
        The times and the rate.

    Raises:
        FormatError: the times show no plausible rate, or another than the stated one, or several.
    """
    times = _unwrapped(times)
    estimates = {unit: estimate_rate(times * unit) for unit in (_UNITS if tick_s is None else (tick_s,))}
    if all(rate is None for rate in estimates.values()):
        raise FormatError(f"the time column {name} does not grow: remove it and state the rate, '# rate_hz: 128'")
    plausible = {unit: rate for unit, rate in estimates.items() if rate is not None and is_plausible(rate)}
    if len(plausible) > 1:
        usual = {unit: rate for unit, rate in plausible.items() if _USUAL_HZ[0] <= rate <= _USUAL_HZ[1]}
        plausible = usual or plausible
    if stated_hz is not None:
        agreeing = {
            unit for unit, rate in estimates.items() if rate is not None and _agree(times * unit, rate, stated_hz)
        }
        if len(agreeing) == 1:
            return _settled(times * agreeing.pop(), stated_hz, name, stated_hz)
        shown = _one(plausible, times) or tick_s or 1.0
        raise FormatError(
            f"the stated rate is {float(stated_hz):g} Hz but the time column {name} shows "
            f"{_hz(estimate_rate(times * shown))} in {_UNITS[shown]}: correct the rate or the name of the column"
            f"{_likely(times, shown, stated_hz)}"
        )
    unit = _one(plausible, times)
    if unit is None and plausible:
        shown_units = " or ".join(f"{_hz(rate)} in {_UNITS[unit]}" for unit, rate in plausible.items())
        raise FormatError(
            f"the time column {name} shows {shown_units}: name it {' or '.join(_NAMES[unit] for unit in plausible)} "
            "in a header, or state the rate, '# rate_hz: 128'"
        )
    if unit is None:
        shown = tick_s or 1.0
        raise FormatError(
            f"the time column {name} shows {_hz(estimate_rate(times * shown))} in {_UNITS[shown]}, outside of 0.5 to "
            f"4096 Hz: correct the times or the name of the column{_likely(times, shown, None)}"
        )
    return _settled(times * unit, plausible[unit], name, None)


def _one(plausible: dict[float, Fraction], times: _Floats) -> float | None:
    """The only plausible unit, or the one of times since 1970; else None."""
    if len(plausible) == 1:
        return next(iter(plausible))
    epoch = [unit for unit in plausible if _EPOCH_S[0] < float(np.median(times)) * unit < _EPOCH_S[1]]
    return epoch[0] if len(epoch) == 1 else None


def _agree(times_s: _Floats, rate_hz: Fraction, stated_hz: Fraction) -> bool:
    """Whether the times show the stated rate, on average or by their typical step, within their resolution."""
    steps_s = np.diff(times_s)
    growing = steps_s[steps_s > 0]
    span_s = float(growing.sum())
    tolerance = max(_AGREEMENT, 1 + JITTER_S / span_s) if span_s > 0 else _AGREEMENT
    typical_hz = 1 / float(np.median(growing))
    shown_hz = (float(rate_hz), typical_hz, float(_mean_hz(times_s)))
    return any(1 / tolerance <= hz / float(stated_hz) <= tolerance for hz in shown_hz)


def _mean_hz(times_s: _Floats) -> Fraction:
    """The rate of as many even times from the first to the last, rounded as an estimated one; 0 if there is none."""
    span_s = float(times_s[-1] - times_s[0])
    return (estimate_rate(np.linspace(0.0, span_s, len(times_s))) if span_s > 0 else None) or Fraction(0)


def _settled(times_s: _Floats, rate_hz: Fraction, name: str, stated_hz: Fraction | None) -> Timing:
    """The times as they are if they show losses, evened out if they repeat or vary within a burst; else refused."""
    steps_s = np.diff(times_s)
    period_s = float(1 / rate_hz)
    changes = np.flatnonzero(steps_s != 0)
    coarse = len(changes) < len(steps_s) / 1.5
    slack_s = max(0.5 * period_s, JITTER_S)
    if coarse:
        if len(changes) < _FEWEST_STAMPS:
            raise FormatError(
                f"the time column {name} has {len(changes) + 1} different times in {len(times_s)} lines: remove it and "
                "state the rate, '# rate_hz: 128'"
            )
        runs = np.diff(changes)
        late_s = np.abs(steps_s[changes[1:]] - runs * period_s)
        regular = float(np.mean(late_s <= 1.5 * period_s + JITTER_S))
    else:
        regular = float(np.mean(steps_s <= period_s + slack_s))
    if regular >= _REGULAR:
        return Timing(times_s, rate_hz, coarse)
    even_hz = stated_hz or _mean_hz(times_s)
    if is_plausible(even_hz):
        apart_s = times_s - np.arange(len(times_s)) / float(even_hz)
        if float(apart_s.max() - apart_s.min()) <= 2 * _LONGEST_BURST_S:
            return Timing(None, even_hz)
    raise FormatError(
        f"the time column {name} has {len(changes) + 1} different times in {len(times_s)} lines, which do not grow "
        f"evenly at {float(rate_hz):g} Hz: write a time for each sample, or remove the column and state the rate"
    )


def _unwrapped(times: _Floats) -> _Floats:
    """Times of a counter of 32 bits that wraps, continued."""
    steps = np.diff(times)
    falls = np.flatnonzero((steps < -_WRAP / 2) & (times[:-1] < _WRAP))
    if not len(falls) or not (steps + _WRAP)[falls].max() < 1000 * max(float(np.median(steps)), 1.0):
        return times
    added = np.zeros(len(times))
    added[falls + 1] = _WRAP
    return times + np.cumsum(added)


def _likely(times: _Floats, shown: float, wanted_hz: Fraction | None) -> str:
    """A hint at the unit that would give a plausible rate, or the wanted one."""
    for unit, text in _UNITS.items():
        rate = estimate_rate(times * unit)
        if unit == shown or rate is None or not is_plausible(rate):
            continue
        if wanted_hz is None or _agree(times * unit, rate, wanted_hz):
            return f" ({_hz(rate)} if they are {text}: {_NAMES[unit]})"
    return ""


def _hz(rate_hz: Fraction | None) -> str:
    return "no rate" if rate_hz is None else f"{float(rate_hz):.4g} Hz"
