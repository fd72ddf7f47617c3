"""Mutated model files, status files and baseline files: damaged bytes, and JSON with odd parts."""

import argparse
import contextlib
import io
import json
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ekd_edge.cli.messages import banner
from ekd_edge.cli.status import run as show_status
from ekd_edge.errors import ConfigError, EkdError, ModelFileError
from ekd_edge.model.container import Contents, pack, read_contents
from ekd_edge.model.file import load_model_file
from ekd_edge.model.interpreter import open_classifier
from ekd_edge.pipeline.baseline import RestingBaseline, baseline_file, baseline_lookup, save_baseline
from ekd_edge.pipeline.stream import SensorPipeline, predict_blocks
from ekd_edge.service.status_file import StatusFile
from ekd_edge.signal.blocks import Baseline, SampleBlock
from ekd_edge.signal.design import gsr_spec
from ekd_edge.sinks.jsonl import to_line
from tests.helpers.odd_json import damaged, odd_json, one_part_replaced

Row = Callable[[str, str, str, str], None]
Many = Callable[[int, int], int]

HANG_S = 1.0
SPEC = gsr_spec(rate_hz=Fraction(16), window_s=4, hop_s=1)
FIXTURES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, in memory where there is such a file system: most of the time would be that of a disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else tmp_path) as name:
        yield Path(name)


@contextlib.contextmanager
def within_a_second(what: bytes) -> Iterator[None]:
    """CPU time, which the load of the machine does not change."""
    began_s = time.process_time()
    yield
    assert time.process_time() - began_s < HANG_S, what[:2000]


def loads(path: Path, content: bytes) -> bool:
    """Whether the file is accepted; an accepted one is run as `ekd-edge` does. Raises any other error than EkdError."""
    path.write_bytes(content)
    sentence = None
    with within_a_second(content):
        try:
            model_file = load_model_file(path)
        except ModelFileError as error:
            sentence = str(error)
    if sentence is not None:
        assert len(sentence) < 10_000
        return False
    runs(path, content)
    assert banner(model_file, "").isprintable()
    return True


def runs(path: Path, content: bytes) -> None:
    """Predict from the accepted file, which gives predictions or one sentence."""
    model_file = load_model_file(path)
    spec = model_file.manifest.signal
    values = 5 + np.sin(np.arange(160) / 7)
    block = SampleBlock(values, 0, Fraction(16), 0, unit=spec.unit)
    overflow = np.errstate(over="ignore", invalid="ignore")  # as in `ekd-edge predict`
    with within_a_second(content), contextlib.suppress(EkdError), overflow:
        for prediction in predict_blocks([block], SensorPipeline(model_file.manifest), open_classifier(model_file)):
            json.loads(to_line(prediction))


def test_damaged_model_files_are_refused(model_path: Path, memory: Path, row: Row, many: Many) -> None:
    times, chance, whole = many(4000, 500_000), random.Random(1), model_path.read_bytes()
    accepted = 0
    for _ in range(times):
        content = damaged(whole, chance)
        accepted += loads(memory / "m.tflite", content) and content != whole
    assert accepted == 0
    row("damaged model file", f"{times} times, up to 6 changes", "one sentence, at most 1 s", f"{times} refused")


def test_odd_manifests_give_a_model_or_one_sentence(model_path: Path, memory: Path, row: Row, many: Many) -> None:
    """The container and its checksums are valid."""
    times, chance, whole = many(3000, 500_000), random.Random(2), read_contents(model_path)
    accepted = 0
    for _ in range(times):
        contents = Contents(whole.flatbuffer, odd_json(whole.manifest, chance))
        accepted += loads(memory / "m.tflite", pack(contents))
    assert 0 < accepted < times
    row(
        "odd manifest",
        f"{times} times, valid checksums",
        "a model that runs or one sentence, at most 1 s",
        f"{times - accepted} refused, {accepted} accepted",
    )


@FIXTURES
@given(data=st.data())
def test_replaced_part_of_a_manifest_gives_a_model_or_one_sentence(
    data: st.DataObject, model_path: Path, memory: Path
) -> None:
    whole = read_contents(model_path)
    changed = data.draw(one_part_replaced(json.loads(whole.manifest)))
    loads(memory / "m.tflite", pack(Contents(whole.flatbuffer, json.dumps(changed).encode())))


def port_status(url: str) -> dict[str, Any]:
    return {
        **{"port": url, "connected": True, "about": f"{url}: ekd 01", "since_s": time.time() - 90, "openings": 1},
        **{"rate_hz": 128.0, "clock_ppm": 31.0, "message": "", "problem": None, "samples": 1280, "dropped": 0},
        **{"rejected": 0, "predicted": 4, "withheld": 0},
        "input": {
            **{"calibrated": [-3.9, 3.87], "samples": 2000, "clipped": 30, "hour_samples": 1000, "hour_clipped": 20},
            **{"hour_seen": [-4.0, 3.96], "problem": None},
        },
        "last": {"labels": {"arousal": "low"}, "quality": 1.0, "reason": None, "latency_ms": 0.8},
        "recording": {
            **{"file": "r.ekdrec", "recorded": 1280, "lost": 0, "lost_predictions": 0, "removed_files": 0},
            "failing": None,
        },
    }


@pytest.fixture
def folder(memory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of status files."""
    monkeypatch.setenv("EKD_STATUS", str(memory / "status"))
    (memory / "status").mkdir(mode=0o700)
    return memory / "status"


@pytest.fixture
def status(tmp_path: Path) -> bytes:
    """The status file of this process, as `StatusFile` writes it."""
    content = {
        "model": {"file": "m.tflite", "sha256": "", "replaced": False},
        "dropped_predictions": 0,
        "ports": [port_status("/dev/ttyUSB0"), port_status("/dev/ttyUSB1")],
        "workers": {"messages": {"faults": 1, "message": None}, "status file": {"faults": 0, "message": "x"}},
    }
    StatusFile(tmp_path / "valid", lambda: content, print).run()
    (path,) = (tmp_path / "valid").iterdir()
    return path.read_bytes()


def shown(as_json: bool) -> tuple[int, int]:
    """The numbers of processes that `ekd-edge status` shows and of files that it skips, from this folder."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.suppress(EkdError):
        assert show_status(argparse.Namespace(json=as_json)) in (0, 1)
    lines, skipped = out.getvalue().splitlines(), err.getvalue().splitlines()
    assert all(line.isprintable() for line in (*lines, *skipped))
    if as_json:
        assert all("problems" in json.loads(line) for line in lines)
        return len(lines), len(skipped)
    return sum(line.startswith("ekd-edge ") for line in lines), len(skipped)


def write_statuses(folder: Path, contents: list[bytes]) -> None:
    for number, content in enumerate(contents):
        (folder / f"edge-{number}.json").write_bytes(content)


def test_odd_status_files_are_shown_or_skipped(folder: Path, status: bytes, row: Row, many: Many) -> None:
    at_once = 20
    times, chance, count = many(8000, 1_000_000), random.Random(3), 0
    for turn in range(times // at_once):
        contents = [(damaged if chance.random() < 0.2 else odd_json)(status, chance) for _ in range(at_once)]
        write_statuses(folder, contents)
        with within_a_second(b"\n".join(contents)):
            found, skipped = shown(as_json=bool(turn % 2))
        assert found + skipped == at_once
        count += found
        messages: list[str] = []
        beginning = StatusFile(folder, dict, messages.append)
        beginning.run()
        beginning.finish()
        assert messages == [], "a process that begins removes the files of others that were killed"
    row("odd status file", f"{times} times", "shown or skipped, at most 1 s", f"{count} shown, {times - count} skipped")


@FIXTURES
@given(data=st.data(), as_json=st.booleans())
def test_replaced_part_of_a_status_is_shown_or_skipped(
    data: st.DataObject, as_json: bool, folder: Path, status: bytes
) -> None:
    write_statuses(folder, [json.dumps(data.draw(one_part_replaced(json.loads(status)))).encode()])
    assert sum(shown(as_json)) == 1


def make_odd(path: Path, kind: str, status: bytes) -> None:
    """Something with the name of a status file."""
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(str(path))
        case "folder":
            path.mkdir()
        case "sparse":
            path.touch()
            os.truncate(path, 1 << 40)
        case "deep":
            path.write_bytes(b"[" * (4 << 20))
        case "pairs":
            path.write_bytes(b'{"a":' * 700_000)
        case "endless":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path)
        case "terminal":
            path.symlink_to("/dev/tty")
        case "foreign":
            path.write_bytes(status)
            os.chown(path, 12345, 12345)
        case _:
            path.write_bytes(b"")


KINDS = ("fifo", "socket", "folder", "sparse", "deep", "pairs", "endless", "loop", "terminal", "foreign", "empty")


def test_odd_files_among_the_status_files_are_skipped(folder: Path, status: bytes, row: Row) -> None:
    if os.getuid():
        pytest.skip("only root can give a file to another user")
    for number, kind in enumerate(KINDS):
        make_odd(folder / f"edge-{number}.json", kind, status)
    (folder / "edge-99.json").write_bytes(status)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with within_a_second(b""):
        assert [shown(as_json) for as_json in (False, True)] == [(1, len(KINDS))] * 2
    assert len(os.listdir("/proc/self/fd")) == before, "no descriptor stays open"  # noqa: PTH208
    row(
        "odd files among the status files",
        ", ".join(KINDS),
        "skipped without waiting, no descriptor stays open",
        f"{len(KINDS)} skipped, 1 process shown",
    )


@pytest.fixture
def baselines(memory: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A file of baselines on two sensors, as `ekd-edge calibrate` writes it."""
    monkeypatch.setenv("EKD_BASELINES", str(memory))
    for sensor in ("ekd 01", "ekd 02"):
        path = save_baseline("anna", sensor, SPEC, RestingBaseline(Baseline(1.5, 0.25, 60.0), 4.5, 0.01))
    return path.read_bytes()


def baseline_is_read(content: bytes) -> bool:
    """Whether the file is accepted; what it gives is plausible. Raises any other error than ConfigError."""
    path = baseline_file("anna")
    path.write_bytes(content)
    sentences: list[str] = []
    other = RestingBaseline(Baseline(1.5, 0.25, 60.0), 4.5, 0.01)
    with within_a_second(content):
        try:
            find = baseline_lookup("anna", SPEC, sentences.append)
        except ConfigError:
            with pytest.raises(ConfigError, match="calibrate again"):
                save_baseline("anna", "ekd 03", SPEC, other)
            assert path.read_bytes() == content
            return False
        for sensor in ("ekd 01", "ekd 02"):
            if (found := find(sensor)) is not None:
                assert np.isfinite([found.mean, found.variance, found.seconds]).all()
                assert found.variance >= 0
                assert found.seconds >= 0
        assert len(sentences) == 2
        save_baseline("anna", "ekd 03", SPEC, other)
        assert baseline_lookup("anna", SPEC, sentences.append)("ekd 03") == other.baseline
    return True


def test_odd_baseline_files_give_plausible_baselines_or_one_sentence(baselines: bytes, row: Row, many: Many) -> None:
    times, chance = many(5000, 1_000_000), random.Random(4)
    accepted = 0
    for _ in range(times):
        accepted += baseline_is_read((damaged if chance.random() < 0.2 else odd_json)(baselines, chance))
    assert 0 < accepted < times
    row(
        "odd baseline file",
        f"{times} times",
        "a plausible baseline or one sentence, at most 1 s",
        f"{times - accepted} refused, {accepted} accepted",
    )


@FIXTURES
@given(data=st.data())
def test_replaced_part_of_a_baseline_file_gives_a_plausible_baseline_or_one_sentence(
    data: st.DataObject, baselines: bytes
) -> None:
    baseline_is_read(json.dumps(data.draw(one_part_replaced(json.loads(baselines)))).encode())
