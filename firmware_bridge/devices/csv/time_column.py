"""The first times of a text stream: the unit of the time column, and the sampling rate that it shows."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import FormatError
from firmware_bridge.tables.rates import estimate_rate, is_plausible

__all__ = ["FirstTimes", "rate_of_times"]

_UNITS = {1.0: "milliseconds", 1e-3: "microseconds", 1e3: "seconds"}
"""Units of a time column without a name, by their length in milliseconds, which is the assumed unit."""
_CLEAR = ([1.0], [1e3])
"""Plausible units that leave no doubt. Milliseconds that grow by less than 0.2 a line are seconds."""
_FEWEST, _FEWEST_CHANGES, _SPAN_S = 8, 6, 2.0
_FEW_STEPS = 16
"""Fewer steps may be those over lost lines by half, so that the shorter ones count too."""
_ARRIVED, _ARRIVAL_SPAN_S = 4, 1.0
_AGREES = 2.5
"""Largest ratio of a rate to the rate at which lines arrive."""


class FirstTimes:
    """The times of the first lines, until they show the sampling rate.

    live: whether the lines arrive at a port. clock: the host's clock in seconds.
    """

    def __init__(self, live: bool, clock: Callable[[], float]) -> None:
        self._live, self._clock = live, clock
        self._times_s: list[float] = []
        self._before_s: list[float] = []
        """The longest run of times before a step backwards."""
        self._arrivals: list[tuple[float, int]] = []
        self._changes = self._next_look = 0
        self._unit: float | None = None

    def add(self, time_s: float) -> None:
        """Add the time of the next line. A step backwards begins a run of times: the device was reset."""
        if self._times_s and time_s < self._times_s[-1]:
            before = max(self._before_s, self._times_s, key=len)
            self.clear()
            self._before_s = before
        self._changes += not self._times_s or time_s > self._times_s[-1]
        self._times_s.append(time_s)

    def clear(self) -> None:
        """Forget all times."""
        self._times_s, self._before_s, self._arrivals = [], [], []
        self._changes = self._next_look = 0

    def arrived(self) -> None:
        """Note that the lines so far have arrived by now."""
        if self._live and self._times_s:
            self._arrivals = [*self._arrivals[:1], (self._clock(), len(self._times_s))]

    @property
    def coarse(self) -> bool:
        """Whether several lines have the same time."""
        return len(self._times_s) > 1.5 * self._changes

    def suffice(self, named: bool, stated: bool) -> bool:
        """Whether the times are enough for `rate`.

        named: whether the header names the unit. stated: whether the rate is stated elsewhere.
        """
        rows = len(self._times_s)
        if rows < _FEWEST or self._changes < _FEWEST_CHANGES:
            return False
        if rows >= self._next_look:
            self._next_look = 2 * rows
            units = list(_plausible(_estimates(np.array(self._times_s))))
            self._unit = 1.0 if named or stated else units[0] if units in _CLEAR else None
        if self._live and self._unit is None:
            return self._arrival_hz() is not None
        return (self._times_s[-1] - self._times_s[0]) * (self._unit or 1.0) >= _SPAN_S

    def rate(self, named: bool, stated_hz: Fraction | None) -> tuple[float, Fraction | None]:
        """The unit and the sampling rate, see `rate_of_times`."""
        times_s = np.array(max(self._times_s, self._before_s, key=len))
        return rate_of_times(times_s, named, stated_hz, self._arrival_hz())

    def _arrival_hz(self) -> float | None:
        """Lines that arrive in a second, without the first ones, which may have waited; None before a second."""
        if len(self._arrivals) < 2:
            return None
        (first_s, few), (last_s, many) = self._arrivals
        if last_s - first_s < _ARRIVAL_SPAN_S or many - few < _ARRIVED:
            return None
        return (many - few) / (last_s - first_s)


def rate_of_times(
    times_s: NDArray[np.float64], named: bool, stated_hz: Fraction | None, arrival_hz: float | None
) -> tuple[float, Fraction | None]:
    """The unit and the sampling rate of a time column.

    Args:
        times_s: times of the lines in seconds, by the unit that the header names or by milliseconds.
        named: whether the header names the unit.
        stated_hz: the rate that is stated elsewhere, or None.
        arrival_hz: lines a second that arrive at a port, or None.

    Returns:
        The factor by which the times have to be multiplied, and the rate; None if the times do not increase.

    Raises:
        FormatError: the rate contradicts the stated one, or is not plausible in any unit.
    """
    estimates = {1.0: estimate_rate(times_s)} if named else _estimates(times_s)
    shown = estimates[1.0]
    if shown is None:
        return 1.0, None
    if stated_hz is not None:
        steps_s = np.diff(times_s)
        growing_s = steps_s[steps_s > 0]
        # Few lines of which some are lost may show another rate on average than by their typical step.
        typical_s = [float(np.median(growing_s))]
        if len(growing_s) < _FEW_STEPS:
            typical_s.append(float(np.quantile(growing_s, 0.25)))
        for factor, rate in estimates.items():
            by_step = any(0.8 < step_s * factor * float(stated_hz) < 1.25 for step_s in typical_s)
            if by_step or (rate is not None and 0.8 < rate / stated_hz < 1.25):
                return factor, rate
        raise FormatError(
            f"the stated rate is {float(stated_hz):g} Hz but the time column shows {float(shown):.4g} Hz: "
            "correct the rate, or the time column's name (millis, micros, or time_s for seconds)"
        )
    plausible = _plausible(estimates)
    if list(plausible) in _CLEAR:
        return next(iter(plausible.items()))
    if arrival_hz is not None:
        arriving = {f: rate for f, rate in plausible.items() if 1 / _AGREES < float(rate) / arrival_hz < _AGREES}
        if len(arriving) == 1:
            return next(iter(arriving.items()))
    if 1.0 in plausible:
        return 1.0, plausible[1.0]
    unit = "by its name" if named else "in milliseconds"
    if not named and plausible:
        unit += f", and {float(plausible[1e-3]):.4g} in microseconds" if 1e-3 in plausible else ""
    seen = "" if arrival_hz is None else f", and {arrival_hz:.3g} lines a second arrive"
    raise FormatError(
        f"the time column shows {float(shown):.3g} samples a second {unit}{seen}: name its unit in a header line such "
        "as 'micros,value', 'millis,value' or 'time_s,value', or state the rate in Hz"
    )


def _estimates(times_s: NDArray[np.float64]) -> dict[float, Fraction | None]:
    return {factor: estimate_rate(times_s * factor) for factor in _UNITS}


def _plausible(estimates: dict[float, Fraction | None]) -> dict[float, Fraction]:
    return {f: rate for f, rate in estimates.items() if rate is not None and is_plausible(rate)}
