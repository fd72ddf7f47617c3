"""Short gaps: the interpolated samples, the windows over them, and their share in the signal quality."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekd_edge.signal.blocks import SampleBlock, continues, joined
from ekd_edge.signal.bridge import bridged, last_sample, longest_bridge
from ekd_edge.signal.design import eeg_spec, gsr_spec
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.signal.quality import ACCEPTABLE, assess_all
from ekd_edge.signal.sample_quality import SampleQuality
from firmware_bridge.units import Unit

SPEC = gsr_spec(16, window_s=2.0, hop_s=0.5, bridge_s=0.5)
RATE = Fraction(100)
UNIT = Unit("adc", 10)


def conductance(n, seed=0, channels=None):
    shape = (n,) if channels is None else (channels, n)
    return 5.0 + np.random.default_rng(seed).normal(size=shape).cumsum(axis=-1) * 0.01


def received(x, lost, cuts=(), rate=RATE, first_index=0, readings=None):
    """The blocks of a stream without the lost samples, divided further at some cuts."""
    keep = np.ones(x.shape[-1], bool)
    keep[list(lost)] = False
    edges = np.flatnonzero(np.diff(keep.astype(int))) + 1
    blocks = []
    for a, b in pairwise(sorted({0, x.shape[-1], *edges.tolist(), *cuts})):
        if keep[a]:
            part = None if readings is None else readings[a:b]
            unit = None if readings is None else UNIT
            blocks.append(SampleBlock(x[..., a:b], first_index + a, Fraction(rate), readings=part, unit=unit))
    return blocks


def filled(x, lost):
    """x with each run of lost samples on the line between its neighbors, one sample at a time."""
    y, lost = x.copy(), set(lost)
    for i in sorted(lost):
        if i - 1 in lost:
            continue
        m = 1
        while i + m in lost:
            m += 1
        for k in range(1, m + 1):
            y[..., i + k - 1] = x[..., i - 1] + (x[..., i + m] - x[..., i - 1]) * k / (m + 1)
    return y


def outputs(spec, blocks):
    """The windows of some blocks, and the fractions of their bad samples."""
    preprocessor, sample_quality = Preprocessor(spec), SampleQuality(spec)
    values, raw, first_index, end_s, fractions = [], [], [], [], []
    for block in blocks:
        batch = preprocessor.push_batch(block)
        sample_quality.push(block)
        fractions.append(sample_quality.bad_fractions(batch))
        for parts, part in zip(
            (values, raw, first_index, end_s),
            (batch.values, batch.raw, batch.first_index, batch.end_s),
            strict=True,
        ):
            parts.append(part.copy())
    return [np.concatenate(parts) for parts in (values, raw, first_index, end_s, fractions)]


# Positions of lost samples: runs of up to 60, of which those up to 50 (0.5 s) are bridged.
losses = st.lists(st.tuples(st.integers(1, 1900), st.integers(1, 60)), max_size=8).map(
    lambda runs: sorted({i for start, n in runs for i in range(start, start + n) if i < 1999})
)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lost=losses,
    cuts=st.lists(st.integers(0, 2000), max_size=40),
    rate=st.sampled_from([RATE, Fraction(16), Fraction(1937, 20)]),
)
def test_windows_and_quality_over_gaps_do_not_depend_on_block_sizes(seed, lost, cuts, rate):
    x = conductance(2000, seed)
    readings = np.round(x * 100)
    whole = outputs(SPEC, received(x, lost, rate=rate, readings=readings))
    for one, other in zip(whole, outputs(SPEC, received(x, lost, cuts, rate=rate, readings=readings)), strict=True):
        assert np.array_equal(one, other)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), lost=losses)
def test_windows_over_short_gaps_are_those_of_the_interpolated_stream(seed, lost):
    x = conductance(2000, seed)
    long = [run for run in np.split(lost, np.flatnonzero(np.diff(lost) > 1) + 1) if len(run) > 50] if lost else []
    lost_for_good = {int(i) for run in long for i in run}
    short = [i for i in lost if i not in lost_for_good]
    expected = outputs(replace(SPEC, bridge_s=0.0), received(filled(x, short), sorted(lost_for_good)))
    found = outputs(SPEC, received(x, lost))
    for one, other in zip(found[:4], expected[:4], strict=True):
        assert np.array_equal(one, other)
    flags = np.zeros(2000, bool)
    flags[short] = True
    latest = 4 * 50
    shares = [max(flags[i : i + 200].mean(), flags[i : i + 200][-latest:].mean()) for i in found[2].tolist()]
    assert found[4][:, 3].tolist() == shares


def test_windows_of_several_channels_go_on_over_a_gap_in_alignment_with_the_gsr():
    eeg = eeg_spec(16, window_s=2.0, hop_s=0.5, bridge_s=0.5)
    x, lost = conductance(1500, channels=3), [*range(300, 310), *range(700, 750)]
    values, _, _, end_s, _ = outputs(SPEC, received(x[0], lost))
    of_eeg = list(Preprocessor(eeg).windows(received(x, lost)))
    assert [window.end_s for window in of_eeg] == end_s.tolist()
    assert len(values) == (1500 * 16 // 100 - 8 - 32 - 32) // 8 + 1
    expected = list(Preprocessor(eeg).windows([SampleBlock(filled(x, lost), 0, RATE)]))
    for window, same in zip(of_eeg, expected, strict=True):
        assert np.array_equal(window.values, same.values)


@pytest.mark.parametrize(
    ("bridge_s", "rate", "samples"),
    [(0.25, 128, 32), (0.25, 4, 1), (0.25, 3, 0), (0.3, 10, 3), (0.0, 1000, 0), (0.5, Fraction(39, 2), 9)],
)
def test_longest_gap_is_a_whole_number_of_samples(bridge_s, rate, samples):
    assert longest_bridge(bridge_s, Fraction(rate)) == samples


def test_interpolated_samples_lie_on_the_line_between_their_neighbors():
    before = SampleBlock(np.array([9.0, 1.0]), 10, Fraction(10), 0, np.array([90.0, 100.0]), UNIT)
    after = SampleBlock(np.array([3.0, 7.0]), 15, Fraction(10), 0, np.array([400.0, 7.0]), UNIT)
    found = bridged(before, after, 0.3)
    assert found.first_index == 12
    assert found.values.tolist() == [1.5, 2.0, 2.5, 3.0, 7.0]
    assert found.readings is not None
    assert found.readings.tolist() == [175.0, 250.0, 325.0, 400.0, 7.0]
    assert found.bridged is not None
    assert found.bridged.tolist() == [True, True, True, False, False]
    assert continues(found, before)
    once = joined([before, found])
    assert once.bridged is not None
    assert once.bridged.tolist() == [False, False, True, True, True, False, False]
    again = bridged(last_sample(before), after, 0.3)
    assert np.array_equal(again.values, found.values)
    assert bridged(last_sample(before), found, 0.3) is found


BEFORE = SampleBlock(np.ones(5), 100, Fraction(10), 1)


@pytest.mark.parametrize(
    ("last", "after"),
    [
        (BEFORE, SampleBlock(np.ones(3), 105, Fraction(10), 1)),
        (BEFORE, SampleBlock(np.ones(3), 108, Fraction(10), 1)),
        (BEFORE, SampleBlock(np.ones(3), 104, Fraction(10), 1)),
        (BEFORE, SampleBlock(np.ones(3), 107, Fraction(10), 2)),
        (BEFORE, SampleBlock(np.ones(3), 107, Fraction(11), 1)),
        (BEFORE, SampleBlock(np.ones((2, 3)), 107, Fraction(10), 1)),
        (BEFORE, SampleBlock(np.ones(3), 107, Fraction(10), 1, np.ones(3), UNIT)),
        (BEFORE, SampleBlock(np.empty(0), 107, Fraction(10), 1)),
        (None, SampleBlock(np.ones(3), 107, Fraction(10), 1)),
    ],
    ids=["no gap", "too long", "step back", "segment", "rate", "channels", "readings", "no samples", "start"],
)
def test_other_blocks_are_returned_as_they_are(last, after):
    assert bridged(last, after, 0.2) is after


def qualities(blocks):
    _, raw, _, _, fractions = outputs(gsr_spec(16, window_s=4, hop_s=1, bridge_s=0.5), blocks)
    return assess_all(raw, SPEC, fractions)


def test_few_lost_samples_reduce_the_score_and_keep_the_label():
    x = conductance(16 * 10)
    found = qualities(received(x, [100], rate=16))
    assert found[0].score == 1.0
    assert found[-1].score == 1 - 1 / 64
    assert found[-1].acceptable
    assert found[-1].reason == "samples were lost: up to 1.6 % of the window are interpolated"


@pytest.mark.parametrize(("lost", "shown"), [(12, True), (13, False)])
def test_window_of_which_more_than_a_fifth_was_lost_has_no_label(lost, shown):
    x = conductance(16 * 10)
    positions = [96 + 4 * i for i in range(lost)]
    worst = min(qualities(received(x, positions, rate=16)), key=lambda quality: quality.score)
    assert worst.acceptable is shown
    assert (worst.score >= ACCEPTABLE) is shown
    assert worst.reason is not None
    assert worst.reason.startswith(f"samples were lost: up to {100 * lost / 64:.0f} %")


def test_stuck_and_saturated_readings_go_on_over_a_gap():
    lively = 500.0 + np.arange(160) % 7
    for reading, column in ((503.0, 1), (1023.0, 0)):
        readings = np.concatenate((lively, np.full(64, reading)))
        x = UNIT.to_microsiemens(readings)
        whole = outputs(SPEC, received(x, [], rate=16, readings=readings))
        holed = outputs(SPEC, received(x, [180, 181, 200], rate=16, readings=readings))
        assert holed[4][:, column].tolist() == whole[4][:, column].tolist()
        assert holed[4][-1, column] == 1.0


def test_position_of_a_bad_sample_after_a_gap_is_its_own():
    preprocessor = Preprocessor(SPEC)
    preprocessor.push(SampleBlock(np.ones(10), 0, RATE))
    with pytest.raises(Exception, match="sample 12 is"):
        preprocessor.push(SampleBlock(np.array([np.nan, 1.0]), 12, RATE))
