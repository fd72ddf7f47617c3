"""Conversion by the device's chain: its state from trial to trial, and the windows that the device would withhold."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from ekd_edge.model.manifest import Manifest
from ekd_edge.pipeline.stream import SensorPipeline
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.bridge import longest_bridge
from ekd_edge.signal.design import eeg_spec, gsr_spec
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.signal.spec import Normalization
from ekd_train.data.cache.store import entry_key
from ekd_train.data.convert import Cutting, GsrChain, convert
from ekd_train.data.windows import Recording, Trial, choose
from firmware_bridge.units import parse_unit

GSR = gsr_spec(rate_hz=Fraction(16), window_s=4.0, hop_s=1.0, settle_s=2.0)
EEG = eeg_spec(rate_hz=Fraction(16), window_s=4.0, hop_s=1.0, settle_s=2.0)


def as_trials(session: Recording) -> Iterator[Recording]:
    """Each trial of a session as a recording of its own that continues the one before."""
    for number, trial in enumerate(session.trials):
        start, stop = (round(each * session.rate_hz) for each in (trial.start_s, trial.end_s))
        yield replace(
            session,
            name=trial.name,
            gsr=session.gsr[start:stop],
            eeg=None if session.eeg is None else session.eeg[:, start:stop],
            trials=(replace(trial, start_s=0.0, end_s=trial.end_s - trial.start_s),),
            continues=number > 0,
        )


def faulty(seconds: int = 60, start_s: int = 20, stop_s: int = 24) -> Recording:
    """A recording of 5 to 6 uS at 16 Hz with one trial, in which the electrodes are off for some seconds."""
    gsr = np.linspace(5.0, 6.0, seconds * 16) + 0.01 * np.sin(np.arange(seconds * 16))
    gsr[start_s * 16 : stop_s * 16] = 0.0
    return Recording("r", "p", gsr, Fraction(16), (Trial("t", 0.0, float(seconds), {"arousal": 7.0}),))


def test_windows_of_continuing_recordings_are_those_of_a_device_with_gaps(small_sessions: list[Recording]) -> None:
    cutting = Cutting(GSR, EEG)
    chain, device, position = GsrChain(cutting), Preprocessor(GSR), 0
    for recording in as_trials(small_sessions[0]):
        conversion = convert(recording, cutting, chain.push(recording))
        live = device.push_batch(SampleBlock(recording.gsr, position, recording.rate_hz))
        position += len(recording.gsr) + longest_bridge(GSR.bridge_s, recording.rate_hz) + 1
        np.testing.assert_array_equal(conversion.gsr, live.values)
        alone = convert(recording, cutting)
        assert conversion.trials == alone.trials
        np.testing.assert_array_equal(conversion.eeg, alone.eeg)
        assert np.array_equal(conversion.gsr, alone.gsr) is not recording.continues


def test_carried_trials_have_nearly_the_windows_of_the_unbroken_stream(small_sessions: list[Recording]) -> None:
    session, cutting = small_sessions[0], Cutting(GSR)
    stream = Preprocessor(GSR).push_batch(SampleBlock(session.gsr, 0, session.rate_hz))
    level = dict(zip(stream.end_s.round(6).tolist(), stream.values.mean(axis=1).tolist(), strict=True))
    differences: dict[str, list[float]] = {"carried": [], "restarted": []}
    chain = GsrChain(cutting)
    for trial, recording in zip(session.trials, as_trials(session), strict=True):
        carried = convert(recording, cutting, chain.push(recording))
        restarted = convert(recording, replace(cutting, state="restarted"))
        assert carried.trials == restarted.trials
        if recording.continues:
            ends = np.round(np.array(carried.trials[0].end_s) + trial.start_s, 6)
            expected = np.array([level[end] for end in ends.tolist()])
            for state, conversion in (("carried", carried), ("restarted", restarted)):
                differences[state] += np.abs(conversion.gsr.mean(axis=1) - expected).tolist()
    assert np.max(differences["carried"]) < 0.1 * np.max(differences["restarted"])


def test_restarted_trials_of_one_recording_pass_a_chain_each(small_sessions: list[Recording]) -> None:
    session = small_sessions[0]
    conversion = convert(session, Cutting(GSR, EEG, state="restarted"))
    assert [trial.name for trial in conversion.trials] == [trial.name for trial in session.trials]
    begin = 0
    for trial, converted in zip(session.trials, conversion.trials, strict=True):
        start = round(trial.start_s * session.rate_hz)
        alone = Preprocessor(GSR).push_batch(SampleBlock(session.gsr[start:], 0, session.rate_hz))
        count = len(converted.end_s)
        np.testing.assert_allclose(converted.end_s, alone.end_s[:count] + trial.start_s)
        np.testing.assert_array_equal(conversion.gsr[begin : begin + count], alone.values[:count])
        assert converted.end_s[-1] <= trial.end_s + 1e-6 < converted.end_s[-1] + 2.0
        begin += count
    assert conversion.eeg is not None
    assert len(conversion.eeg) == begin


def test_restarted_trial_has_at_most_30_s_before_it() -> None:
    recording = replace(faulty(100, 0, 0), trials=(Trial("t", 50.0, 90.0, {"arousal": 7.0}),))
    alone = Preprocessor(GSR).push_batch(SampleBlock(recording.gsr[20 * 16 :], 0, Fraction(16)))
    conversion = convert(recording, Cutting(GSR, state="restarted"))
    ends = conversion.trials[0].end_s
    assert (ends[0], ends[-1]) == (54.0, 90.0)
    np.testing.assert_array_equal(conversion.gsr, alone.values[28 : 28 + len(ends)])


def test_windows_that_a_device_withholds_are_left_out_and_counted(gsr_manifest: Manifest) -> None:
    recording = faulty()
    device = SensorPipeline(replace(gsr_manifest, signal=GSR))
    pending = list(device.push(SampleBlock(recording.gsr, 0, Fraction(16)), 0.0))
    shown = [
        end_s
        for each in pending
        for end_s, quality in zip(each.batch.end_s.tolist(), each.qualities, strict=True)
        if quality.acceptable
    ]
    (trial,) = convert(recording, Cutting(GSR)).trials
    assert list(trial.end_s) == shown
    assert trial.left_out == sum(len(each.batch) for each in pending) - len(shown) > 4
    (kept,) = convert(recording, Cutting(GSR, keep_bad=True)).trials
    assert (len(kept.end_s), kept.left_out) == (len(shown) + trial.left_out, 0)
    windows = choose(convert(recording, Cutting(GSR)), ("arousal",))
    assert [(each.subject, each.recording, each.trial, each.windows) for each in windows.left_out] == [
        ("p", "r", "t", trial.left_out)
    ]


def test_quality_is_assessed_by_the_steps_of_the_device() -> None:
    long = replace(GSR, window_samples=32 * 16, hop_samples=4 * 16)
    seconds = np.arange(120 * 16) / 16
    gsr = np.interp(seconds, [59, 60, 62, 63], [5.0, 0.02, 0.02, 5.0]) + 0.001 * np.sin(seconds)
    recording = replace(faulty(seconds=120), gsr=gsr)
    (coarse,) = convert(recording, Cutting(long)).trials
    (fine,) = convert(recording, Cutting(long, device_hop_samples=16)).trials
    assert coarse.left_out == 0
    assert fine.left_out == 1
    assert set(fine.end_s) < set(coarse.end_s)


def test_saturated_readings_are_left_out_as_on_the_device() -> None:
    recording = faulty(start_s=0, stop_s=0)
    readings = np.full(len(recording.gsr), 500.0) + np.arange(len(recording.gsr)) % 7
    readings[20 * 16 : 30 * 16] = 1023.0 - np.arange(10 * 16) % 2 * 0.5
    converter = replace(recording, readings=readings, unit=parse_unit("adc", adc_bits=10))
    assert convert(recording, Cutting(GSR)).trials[0].left_out == 0
    assert convert(converter, Cutting(GSR)).trials[0].left_out > 5


def test_relative_gsr_is_not_assessed() -> None:
    recording = replace(faulty(), gsr_unit="relative")
    zscore = replace(GSR, normalization=Normalization("ema-zscore"))
    assert convert(recording, Cutting(zscore)).trials[0].left_out == 0


@pytest.mark.parametrize(
    "other",
    [
        Cutting(GSR, state="restarted"),
        Cutting(GSR, keep_bad=True),
        Cutting(GSR, device_hop_samples=8),
        Cutting(GSR, EEG),
        Cutting(replace(GSR, hop_samples=8)),
    ],
)
def test_cache_key_changes_with_the_cutting(other: Cutting) -> None:
    assert entry_key("data", other) != entry_key("data", Cutting(GSR))
    assert entry_key("data", Cutting(GSR, device_hop_samples=16)) == entry_key("data", Cutting(GSR))


def test_flat_trials_keep_their_notes(flat: Callable[..., Recording]) -> None:
    notes: list[str] = []
    recording = replace(flat(40, (0, 20, 2.0), (20, 23, 7.0)), gsr=np.full(640, 5.0))
    windows = choose(convert(recording, Cutting(GSR)), ("arousal",), notify=notes.append)
    assert len(windows) == 0
    assert [each.trial for each in windows.left_out] == ["t0"]
    assert notes == ["trial t1 of flat is shorter than a window of 4 s"]
