"""The format of recordings: encoding, and damage of any kind."""

import random
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekd_edge.cli.recording.main import main
from ekd_edge.errors import FormatError
from ekd_edge.recording.format import Encoder, Mark, PredictionLine
from ekd_edge.recording.frames import MAX_TEXT_BYTES, Readings, Text, encode_text, is_recording, parse_payload
from ekd_edge.recording.reader import Reader
from ekd_edge.recording.replay import RecordingReplay, find_recordings, read_recordings
from ekd_edge.signal.blocks import Baseline, SampleBlock, TimeAnchor
from firmware_bridge.devices.ekd.frame import Decoder
from firmware_bridge.units import Unit
from tests.ekd_edge.recording.blocks import UNIT, Item, block_of, encoded, samples_of, small_recording, texts_of

finite = st.floats(-1e6, 1e6)
anchors = st.none() | st.builds(TimeAnchor, st.integers(0, 2**40), st.floats(0, 2e9))


@st.composite
def any_items(draw: st.DrawFn) -> list[Item]:
    """Blocks of ascending time with marks and predictions between them."""
    items: list[Item] = []
    segment = index = 0
    for kind in draw(st.lists(st.sampled_from("bbmp"), max_size=8)):
        if kind == "m":
            items.append(Mark(draw(st.floats(0, 2e9)), draw(st.text(max_size=600))))
        elif kind == "p":
            items.append(PredictionLine(draw(st.text(st.characters(exclude_categories=("C", "Z")), max_size=900))))
        else:
            if draw(st.booleans()):
                segment, index = segment + draw(st.integers(1, 3)), 0
            unit = draw(st.sampled_from([UNIT, Unit("ohm"), None]))
            number = {UNIT: st.integers(0, 8191), Unit("ohm"): st.floats(1, 1e7), None: finite}[unit]
            readings = np.array(draw(st.lists(number, min_size=1, max_size=300)), dtype=np.float64)
            index += draw(st.integers(0, 2**40))
            rate = draw(st.sampled_from([Fraction(128), Fraction(39, 2), Fraction(1000, 3), Fraction(134371, 1000)]))
            block = block_of(readings, index, segment, rate, unit)
            items.append(replace(block, anchor=draw(anchors), fault=draw(st.sampled_from([None, "a fault"]))))
            index += len(readings)
    return items


@given(any_items(), st.lists(st.integers(0, 5000), max_size=5))
def test_encoded_items_are_decoded_unchanged(sent: list[Item], cuts: list[int]) -> None:
    wire = encoded(sent)
    assert is_recording(wire)
    reader = Reader()
    edges = [0, *sorted(cut % (len(wire) + 1) for cut in cuts), len(wire)]
    found = [item for a, z in pairwise(edges) for item in reader.feed(wire[a:z])]
    assert samples_of(found) == samples_of(sent)
    assert texts_of(found) == texts_of(sent)
    assert reader.damaged == 0
    plain = list(Reader(texts=False).feed(wire))
    assert samples_of(plain) == samples_of(sent)
    assert texts_of(plain) == []


@settings(max_examples=200)
@given(any_items(), st.integers(0, 2**32))
def test_torn_or_damaged_recording_gives_only_recorded_samples(sent: list[Item], seed: int) -> None:
    wire = bytearray(encoded(sent))
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 5)):
        wire[chance.randrange(len(wire))] ^= 1 << chance.randrange(8)
    del wire[chance.randrange(len(wire)) :]
    reader = Reader()
    assert {each[1:] for each in samples_of(reader.feed(bytes(wire)))} <= {each[1:] for each in samples_of(sent)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return small_recording(tmp_path_factory.mktemp("small"))


def frames_around(wire: bytes, at: int) -> list[tuple[int, Readings | Text]]:
    """The start and contents of the frame that a damaged byte belongs to: at most one."""
    start = 0
    found = []
    for piece in wire.split(b"\0"):
        stop = start + len(piece)
        if piece and start - 1 <= at <= stop:
            (payload,) = Decoder().payloads(b"\0" + piece + b"\0")
            contents = parse_payload(payload)
            assert contents is not None
            found.append((start, contents))
        start = stop + 1
    assert len(found) <= 1
    return found


def read_damaged(files: list[Path], number: int, at: int, bit: int, folder: Path) -> tuple[list[Item], Reader]:
    for n, file in enumerate(files):
        wire = bytearray(file.read_bytes())
        if n == number:
            wire[at] ^= 1 << bit
        (folder / file.name).write_bytes(wire)
    reader = Reader()
    found = find_recordings(folder)
    assert found is not None
    return list(read_recordings(found, reader)), reader


@settings(max_examples=400)
@given(st.integers(0, 3), st.integers(0, 2**30), st.integers(0, 7))
def test_one_flipped_bit_costs_one_frame_and_nothing_else(
    files: list[Path], tmp_path_factory: pytest.TempPathFactory, number: int, at: int, bit: int
) -> None:
    wire = files[number].read_bytes()
    at %= len(wire)
    whole = Reader()
    intact = list(read_recordings(files, whole))
    assert whole.damaged == 0
    folder = tmp_path_factory.mktemp("damaged")
    found, reader = read_damaged(files, number, at, bit, folder)
    assert 1 <= reader.damaged <= 3, "the loss is counted"
    assert reader.head == whole.head
    assert RecordingReplay(find_recordings(folder) or []).smoothing.smooth_s == 2.5
    lost = {(each.first_index + i) for _, each in frames_around(wire, at) if isinstance(each, Readings)
            for i in range(len(each.values))}  # fmt: skip
    run = 2 * (number // 2)
    kept = [each for each in samples_of(intact) if not (run <= int(str(each[0])) < run + 2 and each[1] in lost)]
    assert samples_of(found) == kept
    texts = texts_of(intact)
    gone = [text for text in texts if text not in texts_of(found)]
    assert texts_of(found) == [text for text in texts if text not in gone]
    assert len(texts) - len(texts_of(found)) == any(
        isinstance(each, Text) and each.kind in b"mp" for _, each in frames_around(wire, at)
    )


@pytest.mark.parametrize("command", [["info"], ["info", "--json"], ["export", "--csv", "out.csv"]])
def test_commands_read_a_recording_with_a_flipped_bit(
    command: list[str], files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bits of every frame that is a text in the first and the third file: heads and sources of both runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r").mkdir()
    for number in (0, 2):
        wire = files[number].read_bytes()
        for at in [5, *range(40, 1500, 97)]:
            read_damaged(files, number, at % len(wire), 3, tmp_path / "r")
            assert main([command[0], "r", *command[1:]]) == 0
            assert main([command[0], str(tmp_path / "r" / files[number].name), *command[1:]]) == 0


def test_file_with_a_damaged_beginning_is_a_recording(files: list[Path], tmp_path: Path) -> None:
    wire = files[0].read_bytes()
    path = tmp_path / "a.ekdrec"
    path.write_bytes(bytes(700) + wire[700:])
    assert find_recordings(path) == [path]
    assert not is_recording(b"128,4.5\n" * 1000)
    assert not is_recording(bytes(5000))


def test_smoothing_is_that_of_the_first_file_that_has_a_head(files: list[Path], tmp_path: Path) -> None:
    for file in files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    first, second = sorted(tmp_path.iterdir())[:2]
    for beginning in (b"", first.read_bytes()[:20], bytes(300)):
        first.write_bytes(beginning)
        replay = RecordingReplay(find_recordings(tmp_path) or [])
        assert (replay.smoothing.smooth_s, replay.smoothing.hysteresis) == (2.5, 0.1)
    second.write_bytes(b"")
    assert RecordingReplay([first, second]).smoothing.smooth_s == 0.0


HUGE = "9" * 5000
SOURCE = (
    '{"run": "r", "segment": 0, "rate_hz": "128", "unit": null, "lead_off": false, "baseline": null, "anchor": null, '
    '"fault": null}'
)
ODD = [
    ("h", '{"ekd_recording": "x"}'),
    ("h", '{"ekd_recording": 2'),
    ("h", "[]"),
    ("h", "[" * 100_000),
    ("h", '{"ekd_recording": 2, "smooth_s": NaN}'),
    ("h", '{"ekd_recording": 2, "smooth_s": 1e999}'),
    ("h", '{"ekd_recording": 2, "margin": ' + HUGE + "}"),
    ("h", '{"ekd_recording": 2, "margin": 1.5}'),
    ("m", '{"time": "now", "text": "a"}'),
    ("m", '{"time": 1e300, "text": "a"}'),
    ("m", '{"time": 1.0, "text": ["a"]}'),
    ("s", "null"),
    ("s", "{}"),
    ("s", SOURCE.replace('"128"', '"1e99999999"')),
    ("s", SOURCE.replace('"128"', '"1/0"')),
    ("s", SOURCE.replace('"128"', f'"1/{HUGE}"')),
    ("s", SOURCE.replace('"128"', '"0"')),
    ("s", SOURCE.replace('"128"', "128")),
    ("s", SOURCE.replace('"128"', '"100001"')),
    ("s", SOURCE.replace('"segment": 0', '"segment": -1')),
    ("s", SOURCE.replace('"segment": 0', f'"segment": {HUGE[:400]}')),
    ("s", SOURCE.replace('"segment": 0', '"segment": 0.5')),
    ("s", SOURCE.replace('"segment": 0', '"segment": true')),
    ("s", SOURCE.replace('"unit": null', '"unit": {}')),
    ("s", SOURCE.replace('"unit": null', '"unit": "adc"')),
    ("s", SOURCE.replace("false", "0")),
    ("s", SOURCE.replace('"baseline": null', '"baseline": {"mean": NaN, "variance": 1.0, "seconds": 60.0}')),
    ("s", SOURCE.replace('"baseline": null', '"baseline": {"mean": 1.0, "variance": -1.0, "seconds": 60.0}')),
    ("s", SOURCE.replace('"baseline": null', '"baseline": [1]')),
    ("s", SOURCE.replace('"anchor": null', '"anchor": {"index": 0.5, "utc_s": 1.0}')),
    ("s", SOURCE.replace('"anchor": null', '"anchor": {"index": 0, "utc_s": 1e15}')),
    ("s", SOURCE.replace('"fault": null', '"fault": 5')),
    ("s", SOURCE.replace('"run": "r", ', "")),
]


@pytest.mark.parametrize(("kind", "text"), ODD, ids=range(len(ODD)))
def test_odd_metadata_with_a_valid_checksum_is_counted(kind: str, text: str) -> None:
    sent = [block_of(np.arange(300.0))]
    reader = Reader()
    found = list(reader.feed(encoded(sent) + encode_text(ord(kind), 9, text.encode())))
    assert samples_of(found) == samples_of(sent)
    assert texts_of(found) == []
    assert reader.damaged == 1


def test_readings_of_odd_metadata_are_counted() -> None:
    """Readings beyond the unit's range, not finite, of an unknown source, or back in time."""
    sent = block_of(np.arange(8000.0, 8150.0))
    encoder = Encoder()
    wire = encoder.begin({"run": "r"}) + encoder.block(sent)
    outside = replace(sent, readings=np.full(10, 9000.0), first_index=200)
    wire += encoder.block(outside) + encoder.block(replace(sent, first_index=300))
    wire += encoder.block(replace(sent, first_index=310))
    reader = Reader()
    found = list(reader.feed(wire))
    assert [index for _, index, *_ in samples_of(found)] == [*range(150), *range(300, 450)]
    assert reader.damaged == 1 + 2
    reader = Reader()
    nan = block_of(np.array([1.5, 2.5]), unit=None)
    wire = encoded([nan, replace(nan, first_index=5, values=np.array([1.0, np.nan])), replace(nan, first_index=10)])
    assert [index for _, index, *_ in samples_of(reader.feed(wire))] == [0, 1, 10, 11]
    assert reader.damaged == 1


def test_later_version_is_one_sentence() -> None:
    from ekd_edge.recording.frames import first_version_head

    for wire in (first_version_head(b'{"ekd_recording": 3}'), encode_text(ord("h"), 1, b'{"ekd_recording": 3}')):
        with pytest.raises(FormatError, match="format 3, this program reads up to 2: update ekd"):
            list(Reader().feed(b"\0" + wire))


def test_long_texts_come_back_or_are_refused() -> None:
    line = '{"label": "' + "x" * 70_000 + '"}'
    encoder = Encoder()
    wire = encoder.begin({"run": "r"}) + encoder.prediction(line) + encoder.mark(Mark(1.0, "y" * 70_000))
    assert texts_of(Reader().feed(wire)) == [PredictionLine(line), Mark(1.0, "y" * 10_000)]
    with pytest.raises(ValueError, match="too long"):
        encoder.prediction("x" * (MAX_TEXT_BYTES + 1))


def test_metadata_that_a_reader_would_reject_is_not_written() -> None:
    encoder = Encoder()
    encoder.begin({"run": "r"})
    block = block_of(np.arange(3.0))
    odd = [replace(block, rate_hz=Fraction(100_001)), replace(block, baseline=Baseline(np.nan, 1.0, 1.0))]
    for each in [*odd, replace(block, anchor=TimeAnchor(0, np.inf)), replace(block, segment=-1)]:
        with pytest.raises(ValueError, match="cannot be recorded"):
            encoder.block(each)
    before_1970 = replace(block, anchor=TimeAnchor(0, -5.0))
    reader = Reader()
    assert samples_of(reader.feed(encoder.begin({"run": "r"}) + encoder.block(before_1970))) == samples_of(
        [before_1970]
    )


def test_head_and_source_are_repeated() -> None:
    """Everything before the middle of a long recording is lost: what follows the next repetition is read."""
    blocks = [block_of(np.arange(128.0) + n % 7, 128 * n) for n in range(2000)]
    wire = encoded(blocks)
    reader = Reader()
    found = samples_of(reader.feed(wire[len(wire) // 2 :]))
    assert found == samples_of(blocks)[-len(found) :]
    assert len(found) > 128 * 1000 - 70_000 / 2
    assert reader.head["run"] == "r"


def test_empty_recording_holds_no_samples(tmp_path: Path) -> None:
    (tmp_path / "e.ekdrec").write_bytes(Encoder().begin({"run": "a"}))
    with pytest.raises(FormatError, match="holds no samples"):
        list(RecordingReplay([tmp_path / "e.ekdrec"]).blocks())


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300)
@given(st.sampled_from("hsm"), st.sampled_from(["run", "segment", "rate_hz", "unit", "lead_off", "baseline", "anchor",
       "fault", "time", "text", "smooth_s", "margin"]), json_values)  # fmt: skip
def test_any_value_of_any_field_gives_no_exception(kind: str, field: str, value: Any) -> None:
    import json

    fields = {**json.loads(SOURCE), "time": 1.0, "text": "a", "ekd_recording": 2, "smooth_s": 0.0, "margin": 0.0}
    text = json.dumps({**fields, field: value}).encode("utf-8", "replace")
    sent: list[SampleBlock] = [block_of(np.arange(30.0))]
    reader = Reader()
    found = list(reader.feed(encoded(sent) + encode_text(ord(kind), 9, text)))
    assert samples_of(found) == samples_of(sent)
    assert reader.damaged <= 1
