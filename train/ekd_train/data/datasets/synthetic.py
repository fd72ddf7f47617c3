"""Synthetic EEG and skin conductance with affect ratings.

A session has `trials` consecutive rated trials. Each trial has a level of arousal and a level of valence; half of the
levels are high. A slow Ornstein-Uhlenbeck process, common to EEG and skin, is added to each level. A second process is
added only for the skin. The rating of a trial is its level on the scale 1..9 plus rating noise, so some labels are
wrong.

Skin conductance depends on arousal (see `firmware_bridge.synthesis`) and slightly on valence. The dependence on valence
is larger than in physiology; without it a student could not learn valence.
EEG is the sum of a 1/f background that is mixed over the channels, alpha power that decreases with arousal, beta power
that increases with arousal, a frontal alpha asymmetry (more on the right with pleasant valence), and blinks, all within
4-45 Hz.

Nothing here was measured on people: write "synthetic" at every figure made from it.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError
from ekd_train.data.windows import Recording, Trial
from firmware_bridge.synthesis import OrnsteinUhlenbeck, Physiology, SkinConductance

__all__ = ["CHANNELS", "SyntheticConfig", "SyntheticDataset", "synthesize"]

CHANNELS: tuple[str, ...] = (
    *("F3", "F4", "O1", "O2", "P3", "P4", "C3", "C4", "AF3", "AF4", "Fp1", "Fp2", "F7", "F8", "PO3", "PO4"),
    *("FC5", "FC6", "FC1", "FC2", "CP5", "CP6", "CP1", "CP2", "T7", "T8", "P7", "P8", "Fz", "Cz", "Pz", "Oz"),
)
"""Names of the EEG rows: 14 pairs, left before right, then the midline. A dataset has the first `eeg_channels`."""

Difficulty = Literal["default", "hard"]


@dataclass(frozen=True, slots=True)
class _Recipe:
    """Parameters of the synthesis for one difficulty.

    gap: smallest distance of a trial's level from neutral; the largest is 1.
    drift, drift_tau_s: standard deviation and time constant of the process common to EEG and skin.
    skin_drift, skin_drift_tau_s: the same of the process added only for the skin.
    rating_noise: standard deviation of the rating noise, in units of the level.
    alpha, beta: change of log amplitude per unit of arousal.
    asymmetry: change of frontal log alpha, right minus left, per unit of valence.
    gain_spread: standard deviation over subjects of the logarithm of these three.
    rhythm_uv, background_uv, blinks_per_minute: amplitudes of the components of EEG, and rate of blinks.
    valence_leak: fraction of the valence level that is added to arousal for the skin.
    """

    gap: float = 0.35
    drift: float = 0.3
    drift_tau_s: float = 15.0
    skin_drift: float = 0.5
    skin_drift_tau_s: float = 60.0
    rating_noise: float = 0.37
    alpha: float = 0.5
    beta: float = 0.4
    asymmetry: float = 0.9
    gain_spread: float = 0.25
    rhythm_uv: float = 7.0
    background_uv: float = 6.0
    blinks_per_minute: float = 6.0
    valence_leak: float = 0.25
    skin: Physiology = field(default_factory=Physiology)


_RECIPES: dict[Difficulty, _Recipe] = {
    "default": _Recipe(),
    "hard": _Recipe(
        gap=0.1,
        drift=0.5,
        rating_noise=0.5,
        alpha=0.25,
        beta=0.2,
        asymmetry=0.45,
        gain_spread=0.4,
        blinks_per_minute=15.0,
        skin=Physiology(
            tonic_gain=0.12,
            tonic_spread=0.5,
            calm_per_minute=4.0,
            aroused_per_minute=14.0,
            non_responders=0.1,
            artefacts_per_minute=0.6,
            noise_us=0.005,
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class SyntheticConfig:
    """Size, seed and difficulty of a synthetic dataset.

    Subject k does not depend on the number of subjects. Raises DataError for values out of range.
    """

    subjects: int = 24
    trials: int = 20
    trial_s: float = 60.0
    eeg_channels: int = 8
    rate_hz: int = 128
    seed: int = 0
    difficulty: Difficulty = "default"

    def __post_init__(self) -> None:
        if self.subjects < 1 or self.trials < 2 or self.trials % 2:
            raise DataError("synthetic data needs at least 1 subject and an even number of trials: set subjects=24")
        if not (math.isfinite(self.trial_s) and self.trial_s >= 1):
            raise DataError("synthetic trials last at least 1 second: set trial_s=60")
        if not 0 <= self.eeg_channels <= len(CHANNELS):
            raise DataError(f"synthetic EEG has 0 to {len(CHANNELS)} channels: set eeg_channels=8")
        if not 100 <= self.rate_hz <= 2000:
            raise DataError("synthetic recordings with EEG up to 45 Hz have a rate of 100 to 2000 Hz: set rate_hz=128")
        if self.seed < 0:
            raise DataError("the seed of synthetic data must not be negative: set seed=0")
        if self.difficulty not in _RECIPES:
            raise DataError(f"unknown synthetic difficulty {self.difficulty!r}: choose default or hard")


class SyntheticDataset:
    """The dataset `synthetic`. Recordings are synthesized when they are read and are not stored."""

    synthetic = True
    targets = ("arousal", "valence")
    notes: tuple[str, ...] = ()

    def __init__(self, config: SyntheticConfig | None = None) -> None:
        self.config = SyntheticConfig() if config is None else config
        self.subjects = tuple(_subject(k) for k in range(self.config.subjects))
        self.has_eeg = self.config.eeg_channels > 0

    @property
    def identity(self) -> str:
        """The difficulty and the seed, which determine the synthetic person of each subject name."""
        kind = "synthetic" if self.config.difficulty == "default" else f"synthetic:{self.config.difficulty}"
        return f"{kind}?seed={self.config.seed}"

    def fingerprint(self) -> str:
        """Return the configuration as text, which determines all recordings."""
        return f"synthetic {json.dumps(asdict(self.config), sort_keys=True)}"

    def read(self, subjects: Sequence[str], eeg: bool = True) -> Iterator[Recording]:
        """Yield one recording per subject, in this order. Raises DataError for an unknown subject."""
        for name in subjects:
            if name not in self.subjects:
                raise DataError(f"synthetic data has no subject {name!r}: known are {', '.join(self.subjects)}")
            yield synthesize(self.config, self.subjects.index(name), eeg)


def _subject(index: int) -> str:
    return f"s{index:03d}"


def synthesize(config: SyntheticConfig, index: int, eeg: bool = True) -> Recording:
    """Synthesize the session of a subject.

    Values are rounded to the resolution of an amplifier: GSR to 0.00001 uS, EEG to 0.01 uV. Ratings have two decimals.

    Args:
        config: seed, sizes and difficulty.
        index: number of the subject, from 0.
        eeg: whether to synthesize EEG.

    Returns:
        The recording, which depends only on `config` without its number of subjects, and on `index`.
    """
    recipe = _RECIPES[config.difficulty]
    key = (config.seed, index)
    rng = np.random.default_rng((*key, 10))
    arousal_levels, valence_levels = (_levels(rng, config.trials, recipe.gap) for _ in range(2))
    per_trial = round(config.trial_s * config.rate_hz)
    n = per_trial * config.trials

    def drift(stream: int, tau_s: float, sd: float) -> NDArray[np.float64]:
        noise = OrnsteinUhlenbeck(np.random.default_rng((*key, stream)), config.rate_hz, tau_s, sd)
        return noise.render(n)

    arousal = np.repeat(arousal_levels, per_trial) + drift(11, recipe.drift_tau_s, recipe.drift)
    valence = np.repeat(valence_levels, per_trial) + drift(12, recipe.drift_tau_s, recipe.drift)
    skin = arousal + recipe.valence_leak * valence
    skin += drift(15, recipe.skin_drift_tau_s, recipe.skin_drift)
    person = SkinConductance(config.rate_hz, (*key, 13), recipe.skin)
    gsr = person.render(skin)
    waves = _eeg(config, recipe, (*key, 14), arousal, valence) if eeg and config.eeg_channels else None
    ratings = [_ratings(rng, levels, recipe.rating_noise) for levels in (arousal_levels, valence_levels)]
    trials = tuple(
        Trial(
            name=f"t{k:02d}",
            start_s=k * per_trial / config.rate_hz,
            end_s=(k + 1) * per_trial / config.rate_hz,
            ratings={"arousal": float(ratings[0][k]), "valence": float(ratings[1][k])},
        )
        for k in range(config.trials)
    )
    return Recording(
        name=_subject(index),
        subject=_subject(index),
        gsr=np.round(gsr, 5),
        rate_hz=Fraction(config.rate_hz),
        trials=trials,
        eeg=waves,
        channels=CHANNELS[: config.eeg_channels] if waves is not None else (),
    )


def _levels(rng: np.random.Generator, trials: int, gap: float) -> NDArray[np.float64]:
    half = trials // 2
    spread = gap + (1.0 - gap) * (np.arange(half) + rng.random(half)) / half
    return rng.permutation(np.concatenate([spread, -spread]))


def _ratings(rng: np.random.Generator, levels: NDArray[np.float64], noise: float) -> NDArray[np.float64]:
    felt = levels + noise * rng.standard_normal(len(levels))
    return np.asarray(np.round(np.clip(5.0 + 3.0 * felt, 1.0, 9.0), 2), dtype=np.float64)


def _rhythm(
    rng: np.random.Generator, rows: int, n: int, rate_hz: float, low: float, high: float, slope: float = 0.0
) -> NDArray[np.float64]:
    """Return noise of unit variance within [low, high] Hz with amplitudes proportional to f**-slope: (rows, n)."""
    hz = np.fft.rfftfreq(n, 1.0 / rate_hz)
    inside = np.flatnonzero((hz >= low) & (hz <= high))
    spectrum = np.zeros((rows, len(hz)), dtype=np.complex128)
    noise = rng.standard_normal((rows, 2, len(inside)))
    spectrum[:, inside] = (noise[:, 0] + 1j * noise[:, 1]) * hz[inside] ** -slope
    waves = np.fft.irfft(spectrum, n)
    return np.asarray(waves / waves.std(axis=1, keepdims=True))


def _eeg(
    config: SyntheticConfig,
    recipe: _Recipe,
    key: tuple[int, ...],
    arousal: NDArray[np.float64],
    valence: NDArray[np.float64],
) -> NDArray[np.float64]:
    rng = np.random.default_rng(key)
    names = CHANNELS[: config.eeg_channels]
    n, rate = len(arousal), float(config.rate_hz)
    side = np.array([0 if name[-1] == "z" else 1 if int(name[-1]) % 2 == 0 else -1 for name in names])
    frontal = np.array([name[0] in "FA" for name in names], dtype=np.float64)
    back = np.array([name[0] in "OP" for name in names], dtype=np.float64)
    alpha_gain, beta_gain, asymmetry = np.exp(recipe.gain_spread * rng.standard_normal(3)) * (
        recipe.alpha,
        recipe.beta,
        recipe.asymmetry,
    )
    size = recipe.rhythm_uv * np.exp(0.2 * rng.standard_normal((2, len(names))))
    sources = max(4, len(names) // 2)
    mixing = rng.standard_normal((len(names), sources)) / math.sqrt(sources) + 0.4
    waves = mixing @ _rhythm(rng, sources, n, rate, 4.0, 45.0, slope=0.5) * recipe.background_uv
    alpha = _rhythm(rng, 3, n, rate, 8.5, 12.5)
    beta = _rhythm(rng, 3, n, rate, 15.0, 28.0)
    alpha_mix = rng.dirichlet(np.ones(3), len(names)) ** 0.5
    beta_mix = rng.dirichlet(np.ones(3), len(names)) ** 0.5
    fall, rise = np.exp(-alpha_gain * arousal), np.exp(beta_gain * arousal)
    tilt = np.exp(0.5 * asymmetry * valence)
    for row in range(len(names)):
        lean = side[row] * frontal[row]
        envelope = fall * (tilt if lean > 0 else 1.0 / tilt if lean < 0 else 1.0)
        waves[row] += size[0, row] * (0.7 + 0.6 * back[row]) * envelope * (alpha_mix[row] @ alpha)
        waves[row] += size[1, row] * 0.6 * rise * (beta_mix[row] @ beta)
    blinks = _blinks(rng, n, rate, recipe.blinks_per_minute)
    waves += (8.0 * frontal * (1.0 + np.array([name.startswith("Fp") for name in names])))[:, None] * blinks
    return np.round(waves, 2)


def _blinks(rng: np.random.Generator, n: int, rate: float, per_minute: float) -> NDArray[np.float64]:
    """Return blinks, each a windowed cycle of 5 Hz at a random time: (n,)."""
    length = round(0.2 * rate)
    wave = np.sin(2.0 * np.pi * np.arange(length) / length) * np.hanning(length)
    blinks = np.zeros(n)
    for start in np.flatnonzero(rng.random(n - length) < per_minute / (60.0 * rate)):
        blinks[start : start + length] += wave
    return blinks
