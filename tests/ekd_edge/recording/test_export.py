"""Exports: CSV and EDF+ of any rate and length, read back; memory that does not grow with the recording."""

import csv
import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekd_edge.errors import FormatError
from ekd_edge.recording.contents import annotation_of, read_contents
from ekd_edge.recording.edf import record_of
from ekd_edge.recording.export import write_csv, write_edf, write_predictions
from ekd_edge.recording.format import Encoder, Mark, PredictionLine
from ekd_edge.recording.replay import open_recording
from ekd_edge.signal.blocks import SampleBlock, TimeAnchor
from ekd_edge.sources.sensor import SensorOptions
from tests.ekd_edge.recording.blocks import Item, block_of, encoded

LINE = json.dumps({"targets": {"arousal": {"label": "low"}, "valence": {"label": None}}})


def written(path: Path, items: list[Item]) -> list[Path]:
    path.write_bytes(encoded(items))
    return [path]


def test_csv_has_every_sample_with_its_times(tmp_path: Path) -> None:
    rate = Fraction(1000, 3)
    first = replace(block_of(np.arange(20_000.0) % 8192, 0, 0, rate), anchor=TimeAnchor(0, 1.8e9))
    second = block_of(np.array([0.1, 1 / 3, 5.0]), 40_000, 2, rate, None)
    files = written(tmp_path / "a.ekdrec", [first, second])
    write_csv(tmp_path / "a.csv", files, utc=True)
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    sent = [*first.values.tolist(), 0.1, 1 / 3, 5.0]
    assert [float(row["gsr_us"]) for row in rows] == sent
    assert [int(row["index"]) for row in rows] == [*range(20_000), 40_000, 40_001, 40_002]
    assert [row["segment"] for row in rows] == ["0"] * 20_000 + ["2"] * 3
    assert [row["time_s"] for row in rows[:3]] == ["0.000000", "0.003000", "0.006000"]
    assert rows[1000]["utc"] == "2027-01-15T08:00:03.000000Z"
    assert [row["utc"] for row in rows[-3:]] == [""] * 3
    write_csv(tmp_path / "b.csv", files, utc=False)
    assert (tmp_path / "b.csv").read_text().splitlines()[:2] == ["segment,index,time_s,gsr_us", "0,0,0.000000,0.0"]


@pytest.mark.parametrize("utc", [False, True])
def test_csv_is_read_by_the_decoder_of_sensors(utc: bool, tmp_path: Path) -> None:
    block = replace(block_of(np.arange(1000.0)), anchor=TimeAnchor(0, 1.8e9) if utc else None)
    write_csv(tmp_path / "a.csv", written(tmp_path / "a.ekdrec", [block]), utc=utc)
    read = open_recording(tmp_path / "a.csv", SensorOptions(rate_hz=Fraction(128)))
    assert np.array_equal(np.concatenate([each.values for each in read]), block.values)


@pytest.mark.parametrize("rate", ["128", "39/2", "1000/3", "134371/1000", "1", "1/60", "1000", "4", "1284/10"])
@pytest.mark.parametrize("length", [1, 300, 12_345])
def test_edf_of_any_rate_and_length_is_read_by_mne(rate: str, length: int, tmp_path: Path) -> None:
    mne = pytest.importorskip("mne", reason="the bridges extra is not installed")
    rate_hz = Fraction(rate)
    readings = np.random.default_rng(2).integers(0, 8192, length).astype(float)
    items: list[Item] = []
    parts = [part for part in np.array_split(np.arange(length), 7) if len(part)]
    for part in parts:
        block = block_of(readings[part], 1000 + int(part[0]), 0, rate_hz)
        items += [replace(block, anchor=TimeAnchor(1000, 1.8e9 + 0.25)), Mark(1.8e9, f"mark {part[0]} \x14 µ")]
        items += [PredictionLine(LINE)] * 2
    files = written(tmp_path / "a.ekdrec", items)
    contents = read_contents(files)
    ((path, edf),) = write_edf(tmp_path / "a.edf", files, contents)
    raw = mne.io.read_raw_edf(path, verbose="error")
    assert raw.info["sfreq"] == pytest.approx(float(rate_hz), rel=2e-9)
    assert raw.info["meas_date"] == datetime.fromtimestamp(1.8e9, UTC)
    sent = readings / 8192 * 30
    found = raw.get_data()[0]
    assert len(found) == length + edf.padding
    assert edf.padding < edf.samples
    step = (sent.max() - sent.min() + 1e-3) / 65535
    assert np.abs(found[:length] - sent).max() <= step
    assert np.abs(found[length:] - sent[-1]).max(initial=0) <= step
    notes = dict(zip(raw.annotations.description.tolist(), raw.annotations.onset.tolist(), strict=True))
    for part in parts:
        assert notes.pop(f"mark {part[0]} \\x14 µ") == pytest.approx(float((part[-1] + 1) / rate_hz), abs=2e-6)
    assert list(raw.annotations.description).count("arousal low, valence withheld") == 2 * len(parts)
    padded = notes.pop(f"BAD_padding: {edf.padding} samples repeat the last one", None)
    assert padded == (pytest.approx(float(length / rate_hz), abs=2e-6) if edf.padding else None)
    assert list(notes) == ["arousal low, valence withheld"]


def test_edf_has_a_file_for_each_stretch_and_no_date_without_anchors(tmp_path: Path) -> None:
    edfio = pytest.importorskip("edfio", reason="the train extra is not installed")
    items: list[Item] = [
        block_of(np.full(256, 7.0), 0),
        block_of(np.arange(300.0), 300),
        block_of(np.arange(9.0), 0, 1),
    ]
    files = written(tmp_path / "a.ekdrec", items)
    found = dict(write_edf(tmp_path / "a.edf", files, read_contents(files)))
    assert [path.name for path in found] == ["a.edf", "a-2.edf", "a-3.edf"]
    assert [edf.padding for edf in found.values()] == [0, 84, 119]
    assert {oct(path.stat().st_mode & 0o777) for path in found} == {"0o600"}
    for path, item in zip(found, items, strict=True):
        assert isinstance(item, SampleBlock)
        (signal,) = (read := edfio.read_edf(path)).signals
        assert (signal.label, signal.physical_dimension, signal.sampling_frequency) == ("EDA", "uS", 128)
        assert np.abs(signal.data[: len(item.values)] - item.values).max() < 1e-4
        assert read.recording.equipment_code == "ekd"
        with pytest.raises(edfio.AnonymizedDateError):
            _ = read.recording.startdate


def test_edf_has_each_prediction_at_the_end_of_its_window(tmp_path: Path) -> None:
    mne = pytest.importorskip("mne", reason="the bridges extra is not installed")

    def line(time: object, segment: int = 3) -> PredictionLine:
        return PredictionLine(json.dumps({"segment": segment, "time": time, "targets": {"a": {"label": str(time)}}}))

    items = [
        replace(block_of(np.arange(300.0), 100, 3), anchor=TimeAnchor(100, 1.8e9 + 0.25)),
        *(line(100 / 128 + time) for time in (0.5, 1.0, 1.75)),
        line(9.0),
        line(1e300),
        line(float("nan")),
        line("x"),
        line(0.5),
        line(1.0, segment=2),
    ]
    files = written(tmp_path / "a.ekdrec", items)
    ((path, _),) = write_edf(tmp_path / "a.edf", files, read_contents(files))
    found = mne.io.read_raw_edf(path, verbose="error").annotations
    onsets = [onset for onset, text in zip(found.onset, found.description, strict=True) if text.startswith("a ")]
    at_its_place = 300 / 128
    expected = [0.5, 1.0, 1.75, *[at_its_place] * 4, 0.0, at_its_place]
    assert sorted(onsets) == pytest.approx(sorted(expected), abs=1e-5)


def test_edf_of_a_recording_that_is_being_written_has_what_was_read_first(tmp_path: Path) -> None:
    edfio = pytest.importorskip("edfio", reason="the train extra is not installed")
    blocks: list[Item] = [block_of(np.arange(200.0) + n, 200 * n) for n in range(4)]
    files = written(tmp_path / "a.ekdrec", blocks[:2])
    contents = read_contents(files)
    written(tmp_path / "a.ekdrec", [*blocks[:3], PredictionLine(LINE), block_of(np.arange(50.0), 2000)])
    ((path, edf),) = write_edf(tmp_path / "a.edf", files, contents)
    assert edf.padding == 112
    (signal,) = edfio.read_edf(path).signals
    expected = np.concatenate([np.arange(200.0), np.arange(200.0) + 1]) / 8192 * 30
    assert np.abs(signal.data[:400] - expected).max() < 1e-4
    assert len(signal.data) == 512
    written(tmp_path / "a.ekdrec", blocks[:1])
    with pytest.raises(FormatError, match="has changed while it was exported"):
        list(write_edf(tmp_path / "b.edf", files, contents))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.edf", "a.ekdrec"]


@settings(max_examples=25)
@given(st.fractions(Fraction(1, 1000), 100_000))
def test_record_has_a_whole_number_of_samples_at_the_rate(rate_hz: Fraction) -> None:
    samples, seconds = record_of(rate_hz)
    assert 1 <= samples <= 30_000
    assert len(f"{seconds:f}") <= 8
    assert abs(samples / Fraction(seconds) / rate_hz - 1) < 2e-6


@pytest.mark.parametrize(
    ("rate", "samples", "seconds"), [("128", 128, "1"), ("39/2", 39, "2"), ("1000/3", 334, "1.002"), ("1/60", 1, "60")]
)
def test_record_is_exact_where_it_can_be(rate: str, samples: int, seconds: str) -> None:
    assert record_of(Fraction(rate)) == (samples, Decimal(seconds))


def test_annotation_is_short_and_printable() -> None:
    assert annotation_of(Mark(1.0, "a\x1b[2J" + "b" * 100)) == ("a\\x1b[2J" + "b" * 100)[:80]
    assert annotation_of(PredictionLine(LINE)) == "arousal low, valence withheld"
    for odd in ("{}", "5", '{"targets": 5}', '{"targets": {"a": 5}}', "{", '{"targets": {}}', "[" * 100_000):
        assert annotation_of(PredictionLine(odd)) is None


def test_export_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    def peak_bytes(minutes: int) -> int:
        encoder = Encoder()
        path = tmp_path / f"{minutes}.ekdrec"
        values = 2000 + np.arange(128.0)
        with path.open("wb") as file:
            file.write(encoder.begin({"run": "a"}))
            for second in range(60 * minutes):
                block = block_of(values + second % 50, 128 * second)
                file.write(encoder.block(replace(block, anchor=TimeAnchor(0, 1.8e9))) + encoder.prediction(LINE))
        tracemalloc.start()
        contents = read_contents([path])
        write_csv(tmp_path / "a.csv", [path], utc=True)
        write_predictions(tmp_path / "a.jsonl", [path])
        ((_, edf),) = write_edf(tmp_path / "a.edf", [path], contents)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert edf.padding == 0
        assert contents.stretches[0].length == 128 * 60 * minutes
        return peak

    assert peak_bytes(45) < 1.1 * peak_bytes(15)
