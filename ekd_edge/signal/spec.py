"""SignalSpec: the signal chain as data, so that the device processes a signal exactly as training did."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Final, Literal, get_args

from ekd_edge.errors import SignalError
from firmware_bridge.rates import parse_rate

__all__ = ["LONGEST_BRIDGE_S", "Bound", "Normalization", "NormalizationMode", "SignalSpec"]

NormalizationMode = Literal["log-ema", "ema", "ema-zscore", "window", "none"]
"""How filtered samples become network input; `ekd_edge.signal.normalize` defines each by its formula."""

Bound = Literal["none", "algebraic"]
"""How the normalized samples are limited; `ekd_edge.signal.normalize` has the formula."""


LONGEST_BRIDGE_S: Final = 10.0
"""The largest `SignalSpec.bridge_s` in seconds. A model file cannot make a device fill memory with invented samples."""


@dataclass(frozen=True, slots=True)
class Normalization:
    """A causal normalization and the bound of its output.

    mode: see `NormalizationMode`.
    time_constant_s: of the running mean, in seconds, for the ema modes.
    gain: factor of the normalized samples.
    bound: see `Bound`. With a bound, an artefact such as a slipping contact cannot widen the input's int8 range.
    limit: largest magnitude of a bounded sample; without effect where bound is "none".

    Raises SignalError for an unknown name and for a number that is not positive.
    """

    mode: NormalizationMode = "log-ema"
    time_constant_s: float = 240.0
    gain: float = 8.0
    bound: Bound = "none"
    limit: float = 4.0

    def __post_init__(self) -> None:
        for name, value, kinds in (("normalization", self.mode, NormalizationMode), ("bound", self.bound, Bound)):
            if value not in get_args(kinds):
                raise SignalError(
                    f"this version of ekd does not know the {name} {value!r}: choose one of "
                    f"{', '.join(get_args(kinds))}, or update ekd for a model of a later version"
                )
        if not (math.isfinite(self.time_constant_s) and self.time_constant_s > 0):
            raise SignalError("normalization time_constant_s must be a positive number of seconds")
        if not (math.isfinite(self.gain) and self.gain > 0):
            raise SignalError("normalization gain must be a positive number")
        if not (math.isfinite(self.limit) and self.limit > 0):
            raise SignalError("normalization limit must be a positive number")

    @property
    def has_running_mean(self) -> bool:
        """Whether the normalization depends on the signal before the window, by a running mean."""
        return self.mode not in ("window", "none")

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; bound and limit are left out where there is no bound, as in earlier versions."""
        unbounded = ("bound", "limit") if self.bound == "none" else ()
        return {name: value for name, value in asdict(self).items() if name not in unbounded}


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """The signal chain as data, stored in the model file; the device builds its chain only from it.

    rate_hz: rate of the network's input, an exact fraction of Hz.
    window_samples, hop_samples: epoch length and step, in samples at rate_hz.
    sos: the causal filter at rate_hz: stable second-order sections (b0 b1 b2 1 a1 a2), or none.
    settle_s: output discarded after the start of a segment or a gap, in seconds.
    normalization: see `Normalization`.
    unit: unit of the input samples ("uS" for GSR, "uV" for EEG).
    bridge_s: the longest gap, in seconds, that is interpolated (`ekd_edge.signal.bridge`); 0 for none.
    """

    rate_hz: Fraction
    window_samples: int
    hop_samples: int
    sos: tuple[tuple[float, float, float, float, float, float], ...] = ()
    settle_s: float = 2.0
    normalization: Normalization = Normalization()
    unit: str = "uS"
    bridge_s: float = 0.0

    def __post_init__(self) -> None:
        if self.rate_hz <= 0:
            raise SignalError("rate_hz must be positive")
        for count in (self.window_samples, self.hop_samples):
            if not isinstance(count, int) or count < 1:
                raise SignalError("window_samples and hop_samples must be whole numbers of at least 1")
        if not (math.isfinite(self.settle_s) and self.settle_s >= 0):
            raise SignalError("settle_s must be zero or a positive number of seconds")
        if not (math.isfinite(self.bridge_s) and 0 <= self.bridge_s <= LONGEST_BRIDGE_S):
            raise SignalError(f"bridge_s must be a number of seconds from 0 to {LONGEST_BRIDGE_S:g}")
        for section in self.sos:
            if len(section) != 6 or section[3] != 1.0 or not all(math.isfinite(c) for c in section):
                raise SignalError("each filter section must be six finite numbers b0 b1 b2 1 a1 a2")
            a1, a2 = section[4:]
            if not (abs(a2) < 1 and abs(a1) < 1 + a2):
                raise SignalError(f"the filter section {section} is unstable: design the filter again")

    @property
    def window_s(self) -> float:
        """Window length in seconds."""
        return float(self.window_samples / self.rate_hz)

    @property
    def recent_samples(self) -> int:
        """Number of a window's latest samples, at most four hops, whose quality is assessed in addition to the whole
        window's. A lasting fault is thus detected in the second window after its start, even in long windows."""
        return min(self.window_samples, 4 * self.hop_samples)

    @property
    def hop_s(self) -> float:
        """Step between windows in seconds."""
        return float(self.hop_samples / self.rate_hz)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict, without bridge_s where that is 0, as in earlier versions; `from_json` is its inverse."""
        fields = asdict(self) | {
            "rate_hz": str(self.rate_hz),
            "sos": [list(section) for section in self.sos],
            "normalization": self.normalization.to_json(),
        }
        if not self.bridge_s:
            del fields["bridge_s"]
        return fields

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SignalSpec":
        """The inverse of `to_json`.

        Raises SignalError where a field is missing, unknown or of the wrong kind.
        """
        try:
            fields = dict(data)
            fields["rate_hz"] = parse_rate(str(fields["rate_hz"]))
            fields["sos"] = tuple(tuple(float(c) for c in section) for section in fields["sos"])
            fields["normalization"] = Normalization(**fields["normalization"])
            return cls(**fields)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise SignalError(f"this is not a signal specification: {error}") from error
