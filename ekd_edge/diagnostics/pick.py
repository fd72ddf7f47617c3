"""Picks the fastest of several measured models whose change of accuracy is shown to be within the limit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ekd_edge.diagnostics.bench import Timing
from ekd_edge.errors import ConfigError
from ekd_edge.model.find import describe_signoff
from ekd_edge.model.manifest import Manifest

__all__ = ["Choice", "check_real", "pick", "shown_drop", "why_not"]

_TIE = 1.02
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Choice:
    """picked: None where no model is allowed. reasons: why each other file was not picked, by its path."""

    picked: Timing | None
    reasons: Mapping[str, str]


def check_real(emulated: str | None) -> None:
    """Raise ConfigError on an emulated machine: speed there does not apply to a board."""
    if emulated is not None:
        raise ConfigError(
            f"this machine is emulated ({emulated}), and its speed does not apply to a board: run `ekd-edge bench "
            "--pick` on the board"
        )


def pick(timings: Sequence[Timing], max_drop: float | None = None) -> Choice:
    """Pick the lowest p50 of the allowed models; within 2 % of it, the fewest threads, then the smallest file.

    max_drop: see `why_not`.
    """
    reasons: dict[str, str] = {}
    allowed: list[Timing] = []
    for timing in timings:
        refused = why_not(timing.model_file.manifest, max_drop)
        if refused is None:
            allowed.append(timing)
        else:
            reasons[str(timing.model_file.path)] = refused
    if not allowed:
        return Choice(None, reasons)
    fastest_ms = min(timing.p50_ms for timing in allowed)
    as_fast = [timing for timing in allowed if timing.p50_ms <= _TIE * fastest_ms]
    picked = min(as_fast, key=lambda each: (each.threads, each.model_file.manifest.size_bytes, each.p50_ms))
    for path in dict.fromkeys(
        timing.model_file.path for timing in allowed if timing.model_file is not picked.model_file
    ):
        best_ms = min(timing.p50_ms for timing in allowed if timing.model_file.path == path)
        tied = best_ms <= _TIE * fastest_ms
        reasons[str(path)] = (
            f"as fast within 2 % (p50 {best_ms:.3f} ms), but with more threads or larger"
            if tied
            else f"slower: p50 {best_ms:.3f} ms at best"
        )
    return Choice(picked, reasons)


def why_not(manifest: Manifest, max_drop: float | None = None) -> str | None:
    """The reason against a model, in a few words; None where it is allowed.

    A float32 model changes nothing. Any other must be signed off for max_drop or less, or the figures in its file must
    show that its change is within max_drop. Without max_drop, its own sign-off decides.
    """
    signoff = manifest.signoff
    if manifest.kind == "float32":
        return None
    if signoff is None or max_drop is None:
        return describe_signoff(manifest) or None
    if signoff.passed and signoff.max_drop <= max_drop + _ROUNDING:
        return None
    shown = shown_drop(manifest)
    if shown is None:
        judged = f"sign-off {signoff.result.upper()} for --max-drop {signoff.max_drop:g}"
        return f"{judged}, and the file shows no other limit"
    if shown <= max_drop + _ROUNDING:
        return None
    return f"is shown to change by at most {100 * shown:g} points, and {100 * max_drop:g} is allowed"


def shown_drop(manifest: Manifest) -> float | None:
    """The smallest allowance that the file's figures pass, as a share; None where it has none."""
    try:
        shown = (manifest.evaluation or {})["verdict"]["shown_within"]
    except (KeyError, TypeError):
        return None
    usable = type(shown) is float and math.isfinite(shown) and 0 < shown <= 1
    return shown if usable else None
