"""Conversion of recordings to windows by the device's own signal chain and assessment of signal quality.

In the state "carried" one chain processes all recordings of a subject that continue each other. Between them is a gap
of one sample more than is interpolated: it restarts resampling, filter, windows and settle time, and `Preprocessor`
keeps the running mean of the normalization over it, as on a device between two trials. In the state "restarted" each
trial has its own chain.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError, SignalError
from ekd_edge.model.manifest import NormalizationState
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.bridge import longest_bridge
from ekd_edge.signal.preprocessor import Preprocessor, WindowBatch
from ekd_edge.signal.quality import assess_all
from ekd_edge.signal.resample import ZERO_CROSSINGS
from ekd_edge.signal.sample_quality import SampleQuality
from ekd_edge.signal.spec import SignalSpec
from ekd_train.data.band_power import EegFeatures, band_power, band_power_spec
from ekd_train.data.lost_samples import stretches
from ekd_train.data.windows import Conversion, ConvertedTrial, Recording

__all__ = ["LEAD_S", "Cutting", "GsrChain", "GsrWindows", "convert"]

LEAD_S: Final = 30.0
"""The longest signal, in seconds, that is processed before a trial in the state "restarted"."""

_EDGE_S = 1e-6
"""Tolerance of the times at which windows begin and end."""

_END_DIGITS = 9
"""Decimals of the end of a window in seconds, after the subtraction of the recordings before."""


@dataclass(frozen=True, slots=True)
class Cutting:
    """How recordings are cut into windows.

    gsr: the chain of GSR; its hop is the step between windows. eeg: the chain of EEG, None without EEG.
    device_hop_samples: step between a device's windows, by which it assesses their signal quality; None for gsr's.
    state: see the module's docstring. keep_bad: keep windows whose label a device withholds for their signal quality.
    """

    gsr: SignalSpec
    eeg: SignalSpec | None = None
    eeg_features: EegFeatures = "raw"
    device_hop_samples: int | None = None
    state: NormalizationState = "carried"
    keep_bad: bool = False

    @property
    def device(self) -> SignalSpec:
        """The chain of GSR with the device's hop."""
        return replace(self.gsr, hop_samples=self.device_hop_samples or self.gsr.hop_samples)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict of everything that determines the windows of a recording."""
        return {
            "gsr": self.gsr.to_json(),
            "eeg": self.eeg.to_json() if self.eeg is not None else None,
            "eeg_features": self.eeg_features if self.eeg is not None else None,
            "device_hop_samples": self.device.hop_samples,
            "state": self.state,
            "keep_bad": self.keep_bad,
        }


@dataclass(frozen=True, slots=True)
class GsrWindows:
    """All GSR windows of one recording.

    values: float32 (k, window_samples). end_s: float64 (k,), in seconds since the recording's first sample.
    acceptable: bool (k,), whether a device gives a label; all true for relative GSR, which cannot be assessed.
    """

    values: NDArray[np.float32]
    end_s: NDArray[np.float64]
    acceptable: NDArray[np.bool_]


class GsrChain:
    """The device's chain for the GSR of one subject's recordings, in the order in which they were made."""

    def __init__(self, cutting: Cutting) -> None:
        self._cutting = cutting
        self._preprocessor = Preprocessor(cutting.gsr)
        self._next = 0

    def push(self, recording: Recording) -> GsrWindows:
        """The windows of the next recording.

        Raises DataError for NaN and for relative GSR with a normalization that needs its level.
        """
        mode = self._cutting.gsr.normalization.mode
        if recording.gsr_unit == "relative" and mode != "ema-zscore":
            raise DataError(
                f"recording {recording.name} has relative skin conductance, but {mode} normalization needs absolute "
                "conductance: set signal.normalization=ema-zscore"
            )
        block = SampleBlock(
            recording.gsr, self._next, recording.rate_hz, readings=recording.readings, unit=recording.unit
        )
        samples, bridge_s = SampleQuality(self._cutting.device), self._cutting.gsr.bridge_s
        batches, acceptable = [], []
        for stretch in stretches(block, recording.lost, bridge_s):
            batch = _push(self._preprocessor, stretch, recording)
            batches.append(batch)
            acceptable.append(_acceptable(recording, stretch, batch, self._cutting.device, samples))
        end_s = _whole([batch.end_s for batch in batches])
        if self._next:
            end_s = np.round(end_s - float(self._next / recording.rate_hz), _END_DIGITS)
        self._next += len(recording.gsr) + longest_bridge(bridge_s, recording.rate_hz) + 1
        return GsrWindows(_whole([batch.values for batch in batches]), end_s, _whole(acceptable))


def convert(recording: Recording, cutting: Cutting, gsr: GsrWindows | None = None) -> Conversion:
    """The windows of one recording that are within a trial, in order of the trials.

    Args:
        recording: the recording.
        cutting: the chains.
        gsr: the recording's windows from the subject's `GsrChain`, in the state "carried"; None to process it
            with a new chain.

    Returns:
        The windows, without those of bad signal quality unless `keep_bad` is set; the number left out is counted.

    Raises:
        DataError: the recording does not fit: no EEG though eeg is given, NaN, unequal specs, or relative GSR for a
            normalization that needs its level.
    """
    if cutting.eeg is not None and _timing(cutting.eeg) != _timing(cutting.gsr):
        raise DataError(
            "the specifications of GSR and EEG differ in rate, window, hop, settle time or bridged gaps: "
            "use the same for both"
        )
    if cutting.state == "carried":
        return _convert(recording, cutting, gsr or GsrChain(cutting).push(recording))
    parts = [
        _convert(piece, cutting, GsrChain(cutting).push(piece), offset_s)
        for piece, offset_s in _trial_recordings(recording, cutting.gsr.rate_hz)
    ]
    return _joined(parts, cutting)


def _convert(recording: Recording, cutting: Cutting, gsr: GsrWindows, offset_s: float = 0.0) -> Conversion:
    begins, ends = gsr.end_s - cutting.gsr.window_s, gsr.end_s
    usable = gsr.acceptable | cutting.keep_bad
    kept: list[int] = []
    trials: list[ConvertedTrial] = []
    for trial in recording.trials:
        inside = (begins >= trial.start_s - _EDGE_S) & (ends <= trial.end_s + _EDGE_S)
        mine = np.flatnonzero(inside & usable)
        kept += mine.tolist()
        trials.append(
            ConvertedTrial(
                recording.subject,
                recording.name,
                trial.name,
                trial.ratings,
                tuple((ends[mine] + offset_s).tolist()),
                int(inside.sum()) - len(mine),
            )
        )
    eeg = None
    if cutting.eeg is not None:
        values, eeg_ends = _eeg_windows(recording, cutting.eeg, cutting.eeg_features)
        if not np.allclose(eeg_ends, ends, rtol=0, atol=_EDGE_S):
            raise AssertionError(f"GSR and EEG windows of {recording.name} end at different times")
        eeg = values[kept]
    return Conversion(gsr.values[kept], eeg, tuple(trials), cutting.gsr.window_s)


def _trial_recordings(recording: Recording, rate_hz: Fraction) -> Iterator[tuple[Recording, float]]:
    """A recording for each trial, and its start in the original recording, in seconds.

    It starts at the end of the trial before, at most `LEAD_S` before the trial. It ends when resampling to rate_hz has
    computed the trial's last sample.
    """
    rate, end_s = recording.rate_hz, 0.0
    tail_s = 2 * ZERO_CROSSINGS / float(min(rate, rate_hz))
    for trial in recording.trials:
        start = math.floor(min(trial.start_s, max(end_s, trial.start_s - LEAD_S)) * rate)
        stop = math.ceil((trial.end_s + tail_s) * rate)
        offset_s = float(start / rate)
        end_s = trial.end_s
        piece = replace(
            recording,
            gsr=recording.gsr[start:stop],
            readings=None if recording.readings is None else recording.readings[start:stop],
            eeg=None if recording.eeg is None else recording.eeg[:, start:stop],
            lost=None if recording.lost is None else recording.lost[start:stop],
            trials=(replace(trial, start_s=trial.start_s - offset_s, end_s=trial.end_s - offset_s),),
        )
        yield piece, offset_s


def _joined(parts: Sequence[Conversion], cutting: Cutting) -> Conversion:
    empty = np.empty((0, cutting.gsr.window_samples), np.float32)
    eeg = [part.eeg for part in parts if part.eeg is not None]
    return Conversion(
        np.concatenate([part.gsr for part in parts]) if parts else empty,
        np.concatenate(eeg) if eeg else None,
        tuple(trial for part in parts for trial in part.trials),
        cutting.gsr.window_s,
    )


def _acceptable(
    recording: Recording, block: SampleBlock, batch: WindowBatch, device: SignalSpec, samples: SampleQuality
) -> NDArray[np.bool_]:
    if recording.gsr_unit == "relative":
        return np.ones(len(batch), np.bool_)
    samples.push(block)
    qualities = assess_all(batch.raw, device, samples.bad_fractions(batch))
    return np.array([quality.acceptable for quality in qualities], np.bool_)


def _timing(spec: SignalSpec) -> tuple[Fraction, int, int, float, float]:
    return spec.rate_hz, spec.window_samples, spec.hop_samples, spec.settle_s, spec.bridge_s


def _push(preprocessor: Preprocessor, block: SampleBlock, recording: Recording) -> WindowBatch:
    try:
        return preprocessor.push_batch(block)
    except SignalError as error:
        raise DataError(f"recording {recording.name}: {error}") from error


def _eeg_windows(
    recording: Recording, spec: SignalSpec, features: EegFeatures
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The EEG windows of a recording, shape (k, rows, window_samples), and their ends in seconds."""
    if recording.eeg is None:
        raise DataError(
            f"recording {recording.name} has no EEG: add columns named eeg_NAME, or train the student without a teacher"
        )
    chain = Preprocessor(spec if features == "raw" else band_power_spec(spec))
    batches = []
    for stretch in stretches(SampleBlock(recording.eeg, 0, recording.rate_hz), recording.lost, spec.bridge_s):
        block = stretch
        if features == "bandpower":
            block = SampleBlock(band_power(stretch.values, recording.rate_hz), stretch.first_index, recording.rate_hz)
        batches.append(_push(chain, block, recording))
    return _whole([batch.values for batch in batches]), _whole([batch.end_s for batch in batches])


def _whole(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The parts along the first axis; a single part is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
