from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.preprocessor import Preprocessor
from ekd_edge.signal.sample_quality import SampleQuality
from firmware_bridge.units import Unit

SPEC = gsr_spec(rate_hz=16, window_s=4, hop_s=1)
UNIT = Unit("adc", 10)


def block(readings, first=0, segment=0, lead_off=False, rate=16):
    readings = np.asarray(readings, np.float64)
    values = UNIT.to_microsiemens(readings)
    return SampleBlock(values, first, Fraction(rate), segment, readings, UNIT, lead_off)


def bad_fractions(blocks):
    preprocessor, sample_quality = Preprocessor(SPEC), SampleQuality(SPEC)
    found = []
    for each in blocks:
        batch = preprocessor.push_batch(each)
        sample_quality.push(each)
        found.append(sample_quality.bad_fractions(batch))
    return np.concatenate(found)


def one_by_one(readings, start, end):
    """The share of stuck samples in readings[start:end], computed directly from the rule."""
    longest, run, limit, flags = 0, 0, 0, []
    for k in range(end):
        if k and readings[k] == readings[k - 1]:
            run += 1
        else:
            longest, run = max(longest, run), 1
            limit = max(16, 4 * longest)
        if run == limit:
            flags[k - run + 1 :] = [True] * (run - 1)
        flags.append(run >= limit)
    return np.mean(flags[start:end])


runs = st.lists(st.tuples(st.integers(100, 104), st.integers(1, 90)), min_size=1, max_size=12)


@settings(deadline=None)
@given(runs, st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_bad_fractions_follow_the_rule_for_any_block_sizes(pieces, sizes):
    readings = np.concatenate([np.full(n, value) for value, n in pieces])
    cuts = np.cumsum(sizes)
    blocks = [block(part, first) for part, first in zip(np.split(readings, cuts), [0, *cuts], strict=True)]
    whole, cut = bad_fractions([block(readings)]), bad_fractions(blocks)
    np.testing.assert_array_equal(whole, cut)
    starts = [32 + 16 * k for k in range(len(whole))]
    assert whole[:, 1].tolist() == [one_by_one(readings, start, start + 64) for start in starts]


def test_fine_converter_is_stuck_after_a_second_and_a_coarse_one_later():
    lively = 500 + np.arange(160) % 7
    assert bad_fractions([block([*lively, *[503] * 64])])[-4:, 1].tolist() == [0.25, 0.5, 0.75, 1.0]
    resting = np.repeat([500, 501, 500], 30)
    found = bad_fractions([block([*resting, *[501] * 60, *[500] * 90])])[:, 1]
    assert found.max() <= 30 / 64, "only the first rest counts as stuck"


@pytest.mark.parametrize(("reading", "share"), [(0, 1.0), (1023, 1.0), (1022, 0.0), (1, 0.0)])
def test_reading_at_an_end_of_the_range_is_saturated(reading, share):
    assert bad_fractions([block(np.full(160, reading))])[-1, 0] == share


def test_average_of_a_ten_bit_converter_at_its_top_is_saturated_in_thirteen_bits():
    top = np.full(160, 1023 * 8.0)
    unit = Unit("adc", 13)
    found = bad_fractions([SampleBlock(unit.to_microsiemens(top), 0, Fraction(16), 0, top, unit)])
    assert found[-1, 0] == 1.0


def test_lead_off_of_the_device_counts():
    readings = 500 + np.arange(112) % 5
    found = bad_fractions([block(readings), block(readings, 112, lead_off=True)])
    assert found[:, 2].tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1]


def test_gap_ends_a_run_and_a_segment_resets_it():
    still = np.full(40, 500)
    found = bad_fractions([block(still), block(still, 50), block(np.arange(100, 228), 0, segment=1)])
    assert found[:, 1].tolist() == [0.0, 0.0, 0.0]
