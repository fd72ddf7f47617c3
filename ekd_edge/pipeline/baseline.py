"""A wearer's baseline, measured at rest and stored for each wearer and sensor."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from ekd_edge.atomic_files import pending_file, read_plain_file
from ekd_edge.errors import ConfigError, SignalError
from ekd_edge.signal.blocks import Baseline, BaselineLookup, SampleBlock
from ekd_edge.signal.normalize import compressed
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.signal.quality import assess_all
from ekd_edge.signal.sample_quality import SampleQuality
from ekd_edge.signal.spec import Normalization, SignalSpec
from firmware_bridge.home import expanded, home_folder
from firmware_bridge.units import LARGEST_US

__all__ = [
    "RestingBaseline",
    "baseline_file",
    "baseline_lookup",
    "check_baseline_storage",
    "save_baseline",
    "take_baseline",
]

_VERSION: Final = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_BYTES: Final = 1 << 20
_LIMITS: Final = {
    "mean": (-LARGEST_US, LARGEST_US),
    "variance": (0.0, LARGEST_US**2),
    "seconds": (0.0, 1e6),
    "level_us": (-LARGEST_US, LARGEST_US),
}
"""The range of each number of a stored baseline."""
_PIECE_S: Final = 4
_PATIENCE: Final = 3  # times the requested seconds of signal; then too little of it was acceptable


@dataclass(frozen=True, slots=True)
class RestingBaseline:
    """A measured baseline. level_us: mean skin conductance. drift: relative change of the level from the first third to
    the last third; it is small at rest."""

    baseline: Baseline
    level_us: float
    drift: float


def take_baseline(
    blocks: Iterable[SampleBlock],
    spec: SignalSpec,
    seconds: float,
    progress: Callable[[float, str | None], None] = lambda _have_s, _reason: None,
) -> RestingBaseline:
    """Measure the baseline of a wearer at rest with the model's own signal chain, from acceptable windows of 4 s.

    Args:
        blocks: samples of the wearer at rest.
        spec: the model's signal chain.
        seconds: of acceptable signal in all.
        progress: called with the seconds so far, and with the fault of the signal or None.

    Returns:
        The baseline.

    Raises:
        SignalError: the model's normalization uses no baseline, the signal ended too early, or too little of it was
            acceptable.
    """
    mode = spec.normalization.mode
    if not spec.normalization.has_running_mean:
        raise SignalError(f"this model normalizes by {mode!r}: it needs no baseline, run ekd-edge without --wearer")
    piece = min(spec.window_samples, max(1, round(_PIECE_S * spec.rate_hz)))
    plain = replace(
        spec,
        window_samples=piece,
        hop_samples=piece,
        normalization=Normalization("none", spec.normalization.time_constant_s, gain=1.0),
    )
    preprocessor, sample_quality = Preprocessor(plain), SampleQuality(plain)
    accepted: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
    seen, reason = 0, None
    for block in blocks:
        batch = preprocessor.push_batch(block)
        sample_quality.push(block)
        qualities = assess_all(batch.raw, plain, sample_quality.bad_fractions(batch))
        for values, quality in zip(batch.values, qualities, strict=True):
            seen += 1
            reason = quality.reason
            if quality.acceptable and len(accepted) * plain.window_s < seconds:
                accepted.append(values.astype(np.float64))
        progress(len(accepted) * plain.window_s, reason)
        if len(accepted) * plain.window_s >= seconds:
            return _resting(np.concatenate(accepted), mode == "log-ema", len(accepted) * plain.window_s)
        if seen * plain.window_s > _PATIENCE * seconds:
            break
    raise SignalError(
        f"only {len(accepted) * plain.window_s:g} of {seconds:g} s were of acceptable quality"
        f"{f' ({reason})' if reason else ''}: check the electrodes and calibrate again"
    )


def _resting(
    filtered: np.ndarray[tuple[int], np.dtype[np.float64]], logarithmic: bool, seconds: float
) -> RestingBaseline:
    level = compressed(filtered) if logarithmic else filtered
    third = len(filtered) // 3
    first, last = float(filtered[:third].mean()), float(filtered[-third:].mean())
    baseline = Baseline(float(level.mean()), float(level.var()), seconds)
    return RestingBaseline(baseline, float(filtered.mean()), (last - first) / max(abs(first), 1e-9))


def baseline_file(wearer: str, environment: Mapping[str, str] = os.environ) -> Path:
    """The file of a wearer's baselines: in $EKD_BASELINES, else in the user's data folder.

    Raises ConfigError for a name that is not a portable file name.
    """
    if not _NAME.fullmatch(wearer):
        raise ConfigError(f"{wearer!r} is not a valid wearer: use up to 64 letters, digits and . _ -")
    if named := environment.get("EKD_BASELINES"):
        folder = Path(expanded(named))
    else:
        folder = Path(environment.get("XDG_DATA_HOME") or home_folder() / ".local" / "share") / "ekd" / "baselines"
    return folder / f"{wearer}.json"


def check_baseline_storage(wearer: str) -> Path:
    """The file of a wearer's baselines, in a folder that exists.

    Raises ConfigError where the file holds anything else, or cannot be written.
    """
    path = baseline_file(wearer)
    _read(path, wearer)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        raise _not_stored(path, error) from error


def save_baseline(wearer: str, sensor: str, spec: SignalSpec, resting: RestingBaseline) -> Path:
    """Store a baseline next to those of the wearer's other sensors; the file is replaced atomically.

    Args:
        wearer: name of the wearer.
        sensor: identity of the sensor.
        spec: the model's signal chain.
        resting: the baseline.

    Returns:
        The file.

    Raises:
        ConfigError: the file cannot be written.
    """
    path = check_baseline_storage(wearer)
    kept = _read(path, wearer)
    kept[_key(sensor, spec)] = {
        **asdict(resting.baseline),
        "level_us": resting.level_us,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps({"ekd_baselines": _VERSION, "wearer": wearer, "baselines": kept}, indent=1)
    try:
        with pending_file(path, f"{text}\n".encode(), private=True) as commit:
            commit()
    except OSError as error:
        raise _not_stored(path, error) from error
    return path


def baseline_lookup(wearer: str, spec: SignalSpec, notify: Callable[[str], None]) -> BaselineLookup:
    """A function from a sensor's identity to this wearer's baseline on it; it calls `notify` with the result.

    Raises ConfigError where the wearer's file cannot be read, or the model's normalization uses no baseline.
    """
    if not spec.normalization.has_running_mean:
        raise ConfigError("this model needs no baseline: leave out --wearer")
    path = baseline_file(wearer)
    kept = _read(path, wearer)

    def find(sensor: str) -> Baseline | None:
        found = kept.get(_key(sensor, spec))
        if found is None:
            notify(
                f"no baseline of {wearer} with {sensor} and this model's filter: the first minutes are less certain; "
                "`ekd-edge calibrate` measures one"
            )
            return None
        notify(f"starting from the baseline of {wearer}, {found['level_us']:.2f} uS, taken {str(found['taken'])[:10]}")
        return Baseline(float(found["mean"]), float(found["variance"]), float(found["seconds"]))

    return find


def _not_stored(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot store the baseline in {path}: {error.strerror}; set EKD_BASELINES")


def _read(path: Path, wearer: str) -> dict[str, dict[str, float | str]]:
    try:
        data = json.loads(read_plain_file(path, _MAX_BYTES))
        if data["ekd_baselines"] != _VERSION or data["wearer"] != wearer:
            raise ValueError
        kept: dict[str, dict[str, float | str]] = data["baselines"]
        for one in kept.values():
            for field, (low, high) in _LIMITS.items():
                value = one[field]
                if isinstance(value, bool | str) or not low <= value <= high:
                    raise ValueError
            if not isinstance(one["taken"], str):
                raise ValueError
    except FileNotFoundError:
        return {}
    except OSError as error:
        reason = f"{error.strerror}; check its permissions, or set EKD_BASELINES"
        raise ConfigError(f"cannot read {path}: {reason}") from error
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ConfigError(f"{path} holds no baselines of {wearer}: delete it and calibrate again") from error
    return kept


def _key(sensor: str, spec: SignalSpec) -> str:
    """The sensor, and a hash of the part of the chain that a baseline depends on."""
    chain = json.dumps([str(spec.rate_hz), spec.sos, spec.normalization.mode])
    return f"{sensor} / {hashlib.sha256(chain.encode()).hexdigest()[:12]}"
