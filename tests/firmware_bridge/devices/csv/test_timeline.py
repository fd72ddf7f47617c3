"""Lines with times: noise leaves no gap, lost lines do, and all other readings keep their place."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firmware_bridge.devices.csv.decoder import CsvDecoder
from firmware_bridge.devices.stream import RawBlock

NOISE = [b"Sensor ready", b"\xff\x80\x13", b"5", b"1,2,3", b"nan,nan", b"x,5", b"#", b",", b"9" * 300]


def row(index: int, rate_hz: float, value: float | None = None) -> bytes:
    return b"%d,%g" % (int(1000 * index / rate_hz), index if value is None else value)


def decoded(rows: list[bytes], rate_hz: Fraction | None, live: bool = False) -> tuple[list[RawBlock], CsvDecoder]:
    decoder = CsvDecoder(rate_hz, live)
    blocks = decoder.feed(b"\r\n".join([*rows, b""]))
    return blocks + decoder.finish(), decoder


def places(blocks: list[RawBlock]) -> list[tuple[int, int, float]]:
    return [(b.segment, b.first_index + i, v) for b in blocks for i, v in enumerate(b.values.tolist())]


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("rate_hz", [19.5, 100, 128, 256])
def test_noise_between_readings_whose_times_go_on_is_no_loss(rate_hz: float, noise: bytes) -> None:
    rows = [line for i in range(2000) for line in ([noise] if i % 20 == 19 else []) + [row(i, rate_hz)]]
    blocks, decoder = decoded(rows, Fraction(rate_hz))
    assert places(blocks) == [(0, i, float(i)) for i in range(2000)]
    assert decoder.counts.dropped == 0
    assert decoder.counts.rejected == (0 if noise == b"#" else 100)


@pytest.mark.parametrize("rate_hz", [19.5, 100, 128, 256, 1000])
def test_damaged_reading_is_one_lost_sample(rate_hz: float) -> None:
    rows = [row(i, rate_hz) if i % 50 != 25 else row(i, rate_hz) + b"\xa7" for i in range(3000)]
    blocks, decoder = decoded(rows, Fraction(rate_hz))
    assert places(blocks) == [(0, i, float(i)) for i in range(3000) if i % 50 != 25]
    assert (decoder.counts.dropped, decoder.counts.rejected) == (60, 60)


def test_noise_at_1000_hz_is_no_loss_by_the_mean_of_the_times() -> None:
    """A step of two milliseconds may be a lost sample or the jitter of the clock."""
    random = np.random.default_rng(1)
    rows: list[bytes] = []
    for i in range(20_000):
        if i % 100 == 99:
            rows.append(b"#ready?"[1:])
        rows.append(b"%d,%d" % (int(i + random.uniform(0, 0.9)), i))
    _, decoder = decoded(rows, Fraction(1000))
    assert decoder.counts.samples == 20_000
    assert decoder.counts.dropped <= 2


@pytest.mark.parametrize("burst", [2, 4, 16])
def test_readings_of_a_burst_with_one_time_are_consecutive(burst: int) -> None:
    blocks, decoder = decoded([b"%d,%d" % (10 * (i - i % burst), i) for i in range(2000)], None)
    assert blocks[0].rate_hz == 100
    assert places(blocks) == [(0, i, float(i)) for i in range(2000)]
    assert decoder.counts.dropped == 0


@pytest.mark.parametrize("first", [0, 7, 19])
@pytest.mark.parametrize("rate_hz", [10, 16, 19.5, 128])
def test_clock_of_whole_seconds_gives_rate_and_no_losses(rate_hz: float, first: int) -> None:
    start_s = 1_704_103_200
    rows = [b"%d,%d" % (start_s + int((first + i) / rate_hz), i) for i in range(int(60 * rate_hz))]
    blocks, decoder = decoded(rows, None)
    assert float(blocks[0].rate_hz) == pytest.approx(rate_hz, rel=0.03)
    assert places(blocks) == [(0, i, float(i)) for i in range(len(rows))]
    assert decoder.counts.dropped == 0


def test_gap_between_times_of_whole_seconds_is_a_gap() -> None:
    rows = [b"%d,%d" % (i // 16, i) for i in range(16 * 60) if not 16 * 20 + 5 <= i < 16 * 22 + 9]
    blocks, _ = decoded(rows, Fraction(16))
    found = places(blocks)
    assert found[: 16 * 20 + 5] == [(0, i, float(i)) for i in range(16 * 20 + 5)]
    assert found[16 * 20 + 5 + 7 :] == [(0, i, float(i)) for i in range(16 * 23, 16 * 60)]
    assert all(value - 16 < index <= value for _, index, value in found)


def test_reset_of_the_device_starts_a_segment_at_once() -> None:
    rows = [row(i, 128) for i in range(500)] + [b"boot", b"millis,adc"[:6]] + [row(i, 128) for i in range(500)]
    blocks, decoder = decoded(rows, Fraction(128))
    assert places(blocks) == [(s, i, float(i)) for s in (0, 1) for i in range(500)]
    assert decoder.counts.dropped == 0


@pytest.mark.parametrize("old", [1, 3, 20, 60])
@pytest.mark.parametrize("rate_hz", [19.5, 128])
def test_readings_begin_two_seconds_after_a_reset_that_follows_old_lines(rate_hz: float, old: int) -> None:
    """An Arduino is reset when its port is opened, but lines of the earlier run are still in the port's buffer."""
    decoder = CsvDecoder()
    wire = [b"tail", *(row(90_000 + i, rate_hz) for i in range(old)), b"Ready", *(row(i, rate_hz) for i in range(600))]
    got: list[RawBlock] = []
    read = 0
    while not (got and got[-1].segment == 1):
        got += decoder.feed(wire[read] + b"\r\n")
        read += 1
    assert read < old + 2 + 3.1 * rate_hz
    assert all(value == index for segment, index, value in places(got) if segment == 1)


def damaged_rows(kinds: list[str], rate_hz: int) -> list[bytes]:
    rows: list[bytes] = []
    for index, kind in enumerate(kinds):
        good = row(index, rate_hz)
        match kind:
            case "lost":
                continue
            case "noise":
                rows += [b"noise", good]
            case "twice":
                rows += [b"1,2,3", b"\xff\xfe", good]
            case "cut":
                rows.append(good.replace(b",", b""))
            case "early" | "late" | "far":
                step = {"early": -0.4, "late": 0.7, "far": 1e9}[kind]
                rows.append(b"%d,%d" % (int(1000 * (index / rate_hz + step)), index))
            case _:
                rows.append(good)
    return rows


GOOD_START = ["good"] * 30
lossy = st.lists(
    st.sampled_from(["good"] * 12 + ["lost", "noise", "twice", "cut", "early", "late", "far"]),
    min_size=30,
    max_size=200,
)


FEW_STEPS = [
    *["good"] * 8,
    *("early", "good", "good", "good", "lost", "good", "good", "cut", "good", "good", "late"),
    *["good"] * 11,
]


@example(FEW_STEPS, 10)
@given(lossy, st.sampled_from([10, 50, 128]))
def test_single_damages_move_no_reading(kinds: list[str], rate_hz: int) -> None:
    """Readings with a damaged time between good ones are rejected, and all others keep their place."""
    apart = [
        kind if all(k == "good" for k in kinds[max(0, i - 2) : i] + kinds[i + 1 : i + 3]) and i > 3 else "good"
        for i, kind in enumerate(kinds)
    ]
    apart[-3:] = ["good"] * 3
    blocks, decoder = decoded(damaged_rows(apart, rate_hz), Fraction(rate_hz))
    kept = [i for i, kind in enumerate(apart) if kind in ("good", "noise", "twice")]
    assert places(blocks) == [(0, i, float(i)) for i in kept]
    assert decoder.counts.dropped == len(apart) - len(kept)


@given(lossy, st.sampled_from([10, 128, 1000]), st.lists(st.integers(0, 4000), max_size=8))
def test_result_is_independent_of_the_pieces(kinds: list[str], rate_hz: int, cuts: list[int]) -> None:
    wire = b"\n".join([*damaged_rows(GOOD_START + kinds, rate_hz), b""])
    expected, whole = decoded(wire.split(b"\n"), Fraction(rate_hz))
    for edges in ([0, *sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)], list(range(len(wire) + 1))):
        decoder = CsvDecoder(Fraction(rate_hz), live=False)
        blocks = [block for start, stop in itertools.pairwise(edges) for block in decoder.feed(wire[start:stop])]
        assert places(blocks + decoder.finish()) == places(expected)
        assert decoder.counts.samples == whole.counts.samples
        assert decoder.counts.dropped == whole.counts.dropped
        assert decoder.counts.rejected == whole.counts.rejected


@given(lossy, st.sampled_from([10, 128, 1000]))
def test_readings_are_those_that_were_sent_in_order(kinds: list[str], rate_hz: int) -> None:
    blocks, _ = decoded(damaged_rows(GOOD_START + kinds, rate_hz), Fraction(rate_hz))
    found = places(blocks)
    values = [value for _, _, value in found]
    assert values == sorted(values)
    assert set(values) <= set(map(float, range(len(GOOD_START + kinds))))
    assert [(segment, index) for segment, index, _ in found] == sorted({(s, i) for s, i, _ in found})
