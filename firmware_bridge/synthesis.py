"""Synthetic skin conductance in microsiemens for the simulated sensor and for training data.

The signal is endless and determined by its seed. A person's level (2-20 uS, log-normal over people) is multiplied by
the exponential of two terms: a tonic component, which follows arousal through a first-order low-pass filter, and a slow
mean-reverting drift. Phasic responses are added to the level. Their onsets are a Poisson process whose rate rises with
arousal. Each response is a Bateman curve (the difference of two exponentials, with its peak about 1.5 s after onset)
that is delayed by a latency. A few people are non-responders. Movements add artefacts at random times, and the sensor
adds white noise.

The signal is synthetic: results from it show how the software behaves, not how people do.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import SignalError

__all__ = ["OrnsteinUhlenbeck", "Physiology", "SkinConductance", "simulated_blocks"]

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Physiology:
    """Parameters of the population of synthetic people. Arousal ranges from about -1 (calm) to 1 (aroused).

    level_us, level_spread: median skin conductance level in uS, and standard deviation of its logarithm over people.
    tonic_gain, tonic_spread: rise of the log level per unit of arousal, and its log spread over people.
    tonic_tau_s: time constant of the level's response to arousal.
    calm_per_minute, aroused_per_minute: responses per minute at arousal -1 and 1, interpolated geometrically.
    response_size, response_spread: mean peak of a response as a fraction of the level, and its log spread.
    latency_s, rise_tau_s, decay_tau_s: latency of a response, and the time constants of its Bateman curve.
    drift, drift_tau_s: standard deviation of the log level's drift after one second, and its time constant.
    non_responders: fraction of people with a tenth of the tonic gain and no responses.
    artefacts_per_minute, artefact_size: movement artefacts per minute, and their size as a fraction of the level.
    noise_us: standard deviation of the sensor's white noise in uS.
    """

    level_us: float = 6.0
    level_spread: float = 0.35
    tonic_gain: float = 0.2
    tonic_spread: float = 0.3
    tonic_tau_s: float = 6.0
    calm_per_minute: float = 2.0
    aroused_per_minute: float = 20.0
    response_size: float = 0.06
    response_spread: float = 0.4
    latency_s: float = 1.8
    rise_tau_s: float = 0.75
    decay_tau_s: float = 3.5
    drift: float = 0.012
    drift_tau_s: float = 600.0
    non_responders: float = 0.03
    artefacts_per_minute: float = 0.2
    artefact_size: float = 0.08
    noise_us: float = 0.002


def _one_pole(x: _Floats, decay: float, state: float) -> tuple[_Floats, float]:
    """One-pole filter y[n] = decay * y[n-1] + x[n] with y[-1] = state; returns y and the new state."""
    y = np.empty_like(x)
    stride = max(1, int(20.0 / -math.log(decay)))  # keeps decay**-k below e**20
    for start in range(0, len(x), stride):
        part = x[start : start + stride]
        powers = decay ** np.arange(1, len(part) + 1)
        y[start : start + stride] = powers * (state + np.cumsum(part / powers))
        state = float(y[start + len(part) - 1])
    return y, state


class OrnsteinUhlenbeck:
    """Endless stationary noise (Ornstein-Uhlenbeck process) with time constant tau_s and standard deviation sd."""

    def __init__(self, rng: np.random.Generator, rate_hz: float, tau_s: float, sd: float) -> None:
        self._rng = rng
        self._decay = math.exp(-1.0 / (tau_s * rate_hz))
        self._step = sd * math.sqrt(1.0 - self._decay**2)
        self._state = sd * float(rng.standard_normal())

    def render(self, n: int) -> _Floats:
        """The next n samples, float64 of shape (n,)."""
        y, self._state = _one_pole(self._step * self._rng.standard_normal(n), self._decay, self._state)
        return y


class SkinConductance:
    """Skin conductance of one synthetic person at rate_hz.

    The seed determines the person and all random numbers. The same seed gives the same signal, up to rounding, however
    the arousal is divided into calls of `render`.
    """

    def __init__(self, rate_hz: float, seed: int | tuple[int, ...], people: Physiology | None = None) -> None:
        if not (math.isfinite(rate_hz) and rate_hz > 0):
            raise SignalError("the rate of synthetic skin conductance must be a positive number of Hz")
        p = Physiology() if people is None else people
        streams = np.random.SeedSequence(seed).spawn(7)
        traits, drift, onsets, sizes, moves, moved, noise = (np.random.default_rng(s) for s in streams)
        self._rate, self._people = rate_hz, p
        level = p.level_us * math.exp(p.level_spread * float(traits.standard_normal()))
        self.level_us: float = min(max(level, 2.5), 15.0)
        self.responder: bool = bool(traits.random() >= p.non_responders)
        self._gain = p.tonic_gain * math.exp(p.tonic_spread * float(traits.standard_normal()))
        if not self.responder:
            self._gain *= 0.1
        self._drift = OrnsteinUhlenbeck(drift, rate_hz, p.drift_tau_s, p.drift * math.sqrt(p.drift_tau_s / 2))
        self._onsets, self._sizes, self._moves, self._moved, self._noise = onsets, sizes, moves, moved, noise
        self._pending = np.zeros(round(p.latency_s * rate_hz))
        rise, decay = p.rise_tau_s, p.decay_tau_s
        peak_s = math.log(decay / rise) * rise * decay / (decay - rise)
        self._peak = math.exp(-peak_s / decay) - math.exp(-peak_s / rise)
        self._tonic_state: float | None = None
        self._states = [0.0, 0.0, 0.0]

    def _decay(self, tau_s: float) -> float:
        return math.exp(-1.0 / (tau_s * self._rate))

    def _responses(self, arousal: _Floats) -> _Floats:
        p, n = self._people, len(arousal)
        middle = math.sqrt(p.calm_per_minute * p.aroused_per_minute)
        slope = 0.5 * math.log(p.aroused_per_minute / p.calm_per_minute)
        per_minute = middle * np.exp(slope * np.clip(arousal, -1.5, 1.5))
        hits = np.flatnonzero(self._onsets.random(n) < per_minute / (60.0 * self._rate))
        impulses = np.zeros(n)
        sizes = p.response_size * np.exp(p.response_spread * self._sizes.standard_normal(len(hits)))
        impulses[hits] = sizes * float(self.responder)
        delayed = np.concatenate([self._pending, impulses])
        self._pending = delayed[n:]
        slow, self._states[0] = _one_pole(delayed[:n], self._decay(p.decay_tau_s), self._states[0])
        fast, self._states[1] = _one_pole(delayed[:n], self._decay(p.rise_tau_s), self._states[1])
        return (slow - fast) / self._peak

    def _artefacts(self, n: int) -> _Floats:
        p = self._people
        hits = np.flatnonzero(self._moves.random(n) < p.artefacts_per_minute / (60.0 * self._rate))
        jumps = np.zeros(n)
        jumps[hits] = p.artefact_size * self._moved.standard_normal(len(hits))
        y, self._states[2] = _one_pole(jumps, self._decay(0.4), self._states[2])
        return y

    def render(self, arousal: _Floats) -> _Floats:
        """The next samples in uS for arousal of shape (n,) at the same rate; float64 (n,), at least 0.05."""
        arousal = np.asarray(arousal, dtype=np.float64)
        if len(arousal) == 0:
            return np.zeros(0)
        p = self._people
        decay = self._decay(p.tonic_tau_s)
        start = float(arousal[0]) if self._tonic_state is None else self._tonic_state
        tonic, self._tonic_state = _one_pole((1.0 - decay) * arousal, decay, start)
        level = np.exp(self._gain * tonic + self._drift.render(len(arousal)))
        relative = level + self._responses(arousal) + self._artefacts(len(arousal))
        noise = p.noise_us * self._noise.standard_normal(len(arousal))
        return np.maximum(self.level_us * relative + noise, 0.05)


def simulated_blocks(
    rate_hz: float, seed: int = 0, block_samples: int | None = None, episode_s: float = 60.0
) -> Iterator[_Floats]:
    """Endless synthetic skin conductance in uS, in blocks. Episodes are as in the synthetic training data.

    Args:
        rate_hz: sampling rate.
        seed: seed of the person and of the episodes.
        block_samples: samples in a block; None for about a tenth of a second.
        episode_s: duration of an episode. Calm and aroused episodes are equally frequent, in random order, and
            Ornstein-Uhlenbeck noise is added to the arousal.

    Raises:
        SignalError: the rate is not a positive number, or block_samples or episode_s is not positive.
    """
    person = SkinConductance(rate_hz, (seed, 0))
    size = max(1, round(rate_hz / 10)) if block_samples is None else block_samples
    if size < 1 or episode_s <= 0:
        raise SignalError("block_samples and episode_s of a simulated sensor must be positive")
    rng = np.random.default_rng((seed, 1))
    wander = OrnsteinUhlenbeck(np.random.default_rng((seed, 2)), rate_hz, 15.0, 0.3)
    episode = max(1, round(episode_s * rate_hz))
    levels: list[float] = []
    ahead = np.zeros(0)
    while True:
        while len(ahead) < size:
            if not levels:
                magnitudes = rng.uniform(0.4, 1.0, 2)
                levels = [float(v) for v in rng.permutation(magnitudes * (-1.0, 1.0))]
            ahead = np.concatenate([ahead, np.full(episode, levels.pop())])
        yield person.render(ahead[:size] + wander.render(size))
        ahead = ahead[size:]
