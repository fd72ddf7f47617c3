"""Which of several measured models to run: the fastest of those whose loss of accuracy was shown to be allowed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ekd_edge.diagnostics.bench import Timing
from ekd_edge.errors import ConfigError
from ekd_edge.formatting import points
from ekd_edge.model.find import describe_signoff
from ekd_edge.model.manifest import Manifest

__all__ = ["Choice", "check_real", "pick", "shown_drop", "why_not"]

_TIE = 1.02
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Choice:
    """What to run, None where no model may be; reasons: why each other file is out, by its path."""

    picked: Timing | None
    reasons: Mapping[str, str]


def check_real(emulated: str | None) -> None:
    """Raise ConfigError on an emulated machine: which model is fastest there says nothing of a board."""
    if emulated is not None:
        raise ConfigError(
            f"this machine is emulated ({emulated}), and what is fastest here says nothing of a board: run `ekd-edge "
            "bench --pick` there"
        )


def pick(timings: Sequence[Timing], max_drop: float | None = None) -> Choice:
    """The lowest p50 of the models that may be run; within 2 % of it, the fewest threads, then the smallest file.

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
    """Why a model may not be picked, in a few words; None where it may.

    A float32 model loses nothing. Another must have been signed off: for max_drop or less, or with intervals in the
    file that show as much; without max_drop, for what its own sign-off allowed.
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
        judged = "signed off" if signoff.passed else "refused sign-off"
        return f"{judged} for --max-drop {signoff.max_drop:g}, and the file has no intervals to judge by another"
    if shown <= max_drop + _ROUNDING:
        return None
    return (
        f"may change by {points(-shown)} points (lower end of the widest interval), and {points(-max_drop)} is allowed"
    )


def shown_drop(manifest: Manifest) -> float | None:
    """The largest loss, as a share, that the file's intervals leave possible; None where any of them is missing.

    They are those of the sign-off itself: of accuracy and macro-F1, of every target, by both methods.
    """
    try:
        verdicts = {each["target"]: each for each in (manifest.evaluation or {})["verdict"]["targets"]}
        lows = [
            float(verdicts[target.name][score][method]["low"])
            for target in manifest.targets
            for score in ("accuracy", "macro_f1")
            for method in ("student_t", "bootstrap")
        ]
    except (KeyError, TypeError, ValueError):
        return None
    return max(0.0, -min(lows)) if all(map(math.isfinite, lows)) else None
