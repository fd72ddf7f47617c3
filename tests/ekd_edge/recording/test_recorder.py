"""The recorder as a job of a worker: files, losses, faults of the disk, removal for space, permissions."""

import errno
import fcntl
import os
import shutil
import stat
import threading
import time
from collections import namedtuple
from collections.abc import Callable
from fractions import Fraction
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.recording import recorder as module
from ekd_edge.recording.contents import read_contents
from ekd_edge.recording.files import file_name, in_order
from ekd_edge.recording.format import Mark, PredictionLine
from ekd_edge.recording.reader import Reader
from ekd_edge.recording.recorder import Recorder
from ekd_edge.recording.replay import find_recordings, read_recordings
from ekd_edge.recording.retention import Retention, file_limit
from ekd_edge.signal.blocks import SampleBlock
from tests.ekd_edge.recording.blocks import prediction, ramp

Usage = namedtuple("Usage", "total used free")


def contents(folder: Path) -> tuple[list[float], list[str], list[str]]:
    """Samples, predictions and marks of a folder."""
    items = list(read_recordings(find_recordings(folder) or [], Reader()))
    values = [value for item in items if isinstance(item, SampleBlock) for value in item.values.tolist()]
    lines = [item.text for item in items if isinstance(item, PredictionLine)]
    return values, lines, [item.text for item in items if isinstance(item, Mark)]


def recorded(folder: Path, run: str = "a", blocks: int = 4) -> Recorder:
    """A recorder that has written some blocks and still runs."""
    recorder = Recorder(folder, {"run": run}, print, Retention(free_bytes=0))
    for number in range(blocks):
        recorder.observe(ramp(number))
    recorder.run()
    return recorder


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """full(total, free): what the disk states about itself."""

    def state(total: int, free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(total, total - free, free))

    return state


def test_run_writes_what_was_put_in_any_thread(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {"run": "a", "port": "/dev/x"}, print)
    assert recorder.name == "recording of /dev/x"
    for number in range(3):
        thread = threading.Thread(target=recorder.observe, args=(ramp(number),))
        thread.start()
        thread.join()
    recorder.write(prediction())
    recorder.mark("the device has restarted")
    assert list(tmp_path.iterdir()) == []
    recorder.run()
    values, lines, marks = contents(tmp_path)
    assert values == (np.arange(192) / 16).tolist()
    assert '"label": "low"' in lines[0]
    assert marks == ["the device has restarted"]
    assert recorder.describe() == {
        "file": str(next(tmp_path.iterdir())),
        "recorded": 192,
        "lost": 0,
        "lost_predictions": 0,
        "removed_files": 0,
        "failing": None,
    }
    recorder.finish()
    recorder.finish()


def test_new_file_starts_at_the_size_limit(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {"run": "a"}, print, Retention(file_bytes=2000, free_bytes=0))
    for number in range(12):
        recorder.observe(ramp(number, 640))
        recorder.run()
    recorder.finish()
    assert [file_name(path) for path in in_order(tmp_path)] == [module.FileName(1, n) for n in range(1, 13)]
    assert contents(tmp_path)[0] == (np.arange(12 * 640) / 16).tolist()
    assert (recorder.recorded_samples, recorder.lost_samples) == (12 * 640, 0)


def test_restated_facts_begin_a_file_whose_head_states_them(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {"run": "a", "model": "old"}, print, Retention(free_bytes=0))
    recorder.observe(ramp(0))
    recorder.restate({"model": "new"})
    recorder.observe(ramp(1))
    recorder.run()
    recorder.restate({"model": "newer"})
    recorder.finish()
    first, second = in_order(tmp_path)
    assert read_contents([first]).models == [("old", "None")]
    assert read_contents([second]).models == [("new", "None")]
    assert read_contents([first, second]).models == [("old", "None"), ("new", "None")]
    values, _, _ = contents(tmp_path)
    assert values == (np.arange(128) / 16).tolist()
    assert recorder.recorded_samples == 128


def test_facts_among_items_that_are_lost_are_stated_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_ITEMS", 2)
    recorder = Recorder(tmp_path, {"run": "a", "model": "old"}, print, Retention(free_bytes=0))
    recorder.restate({"model": "new"})
    for number in range(3):
        recorder.observe(ramp(number))
    recorder.finish()
    assert recorder.lost_samples == 64
    assert [name for name, _ in read_contents(in_order(tmp_path)).models] == ["new"]


@pytest.mark.parametrize(("sync_s", "syncs"), [(0.0, 4), (1e12, 1)])
def test_file_is_synchronized_when_it_is_due(
    sync_s: float, syncs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    monkeypatch.setattr(os, "fdatasync", found.append)
    recorder = Recorder(tmp_path, {"run": "a"}, print, sync_s=sync_s)
    for number in range(4):
        recorder.observe(ramp(number))
        recorder.run()
        recorder.run()
    recorder.finish()
    assert len(found) == syncs


def test_order_of_files_is_that_of_recording_when_the_clock_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "20261125T101530Z-4711-0001.ekdrec").write_bytes(b"")
    days = iter([20, 3, 12])
    for number in range(3):
        day = next(days)
        monkeypatch.setattr(time, "gmtime", lambda seconds=None, day=day: time.struct_time((2026, 5, day, *[0] * 6)))
        recorder = Recorder(tmp_path, {"run": str(number)}, print)
        recorder.observe(ramp(number))
        recorder.finish()
    assert contents(tmp_path)[0] == (np.arange(192) / 16).tolist()
    assert [path.name[:15] for path in in_order(tmp_path)] == [
        "20261125T101530",
        "000001-0001-202",
        "000002-0001-202",
        "000003-0001-202",
    ]


def test_two_recorders_in_one_folder_have_files_of_their_own(tmp_path: Path) -> None:
    first, second = recorded(tmp_path, "a"), recorded(tmp_path, "b")
    first.observe(ramp(4))
    first.finish()
    second.finish()
    assert [file_name(path) for path in in_order(tmp_path)] == [module.FileName(1, 1), module.FileName(2, 1)]
    assert contents(tmp_path)[0] == (np.arange(320) / 16).tolist() + (np.arange(256) / 16).tolist()


def test_files_and_folders_are_open_to_the_user_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    recorded(tmp_path / "home" / "anna").finish()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"home": 0o700, "anna": 0o700, in_order(tmp_path / "home" / "anna")[0].name: 0o600}
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_queue_drops_and_counts_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_ITEMS", 4)
    recorder = Recorder(tmp_path, {"run": "a"}, print)
    recorder.write(prediction())
    for number in range(6):
        recorder.observe(ramp(number))
    recorder.finish()
    values, lines, marks = contents(tmp_path)
    assert values == (np.arange(128, 384) / 16).tolist()
    assert (recorder.recorded_samples, recorder.lost_samples, recorder.lost_predictions) == (256, 128, 1)
    assert lines == []
    assert marks == ["128 samples before this could not be recorded"]


def test_queue_is_limited_in_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_SAMPLES", 200)
    recorder = Recorder(tmp_path, {"run": "a"}, print)
    for number in range(6):
        recorder.observe(ramp(number))
    recorder.finish()
    assert contents(tmp_path)[0] == (np.arange(192, 384) / 16).tolist()
    assert recorder.lost_samples == 192


def test_prediction_that_is_not_finite_is_counted_and_the_rest_is_recorded(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {"run": "a"}, print)
    for chance in (0.25, float("nan"), 0.5):
        recorder.write(prediction(chance))
        recorder.observe(ramp(0))
    recorder.finish()
    assert recorder.lost_predictions == 1
    assert len(contents(tmp_path)[1]) == 2


def test_recording_that_was_deleted_is_counted_as_lost(tmp_path: Path) -> None:
    messages: list[str] = []
    recorder = Recorder(tmp_path / "r", {"run": "a"}, messages.append)
    recorder.observe(ramp(0))
    recorder.run()
    (deleted,) = in_order(tmp_path / "r")
    shutil.rmtree(tmp_path / "r")
    recorder.observe(ramp(1))
    recorder.finish()
    values, _, marks = contents(tmp_path / "r")
    assert values == (np.arange(64, 128) / 16).tolist()
    assert (recorder.recorded_samples, recorder.lost_samples) == (64, 64)
    assert messages == [f"the recording {deleted} was deleted while it was written; another one is started"]
    assert marks == [*messages, "64 samples before this could not be recorded"]


def test_removal_is_stated_although_the_file_that_needs_the_space_cannot_be_made(
    tmp_path: Path, full: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(tmp_path).finish()
    (oldest,) = in_order(tmp_path)
    messages: list[str] = []
    recorder = Recorder(tmp_path, {"run": "b"}, messages.append)
    full(1000, 0)

    def no_file(folder: Path, name: object, stamp: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "OpenFile", no_file)
        recorder.write(prediction(float("nan")))
        recorder.observe(ramp(0))
        recorder.run()
    removed = f"the recording {oldest} was removed, because its disk is too full (--record-free)"
    assert messages[0] == removed
    assert messages[1].startswith(f"recording to {tmp_path} fails: No space left on device; ")
    recorder.observe(ramp(1))
    recorder.finish()
    assert contents(tmp_path)[2] == [removed, "64 samples before this could not be recorded"]
    assert (recorder.lost_predictions, recorder.lost_samples, recorder.removed_files) == (1, 64, 1)


def test_exception_of_any_type_is_raised_and_its_samples_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recorded(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(recorder._encoder, "block", lambda block: 1 / 0)
        recorder.observe(ramp(4))
        with pytest.raises(ZeroDivisionError):
            recorder.run()
    recorder.observe(ramp(5))
    recorder.finish()
    assert (recorder.recorded_samples, recorder.lost_samples) == (5 * 64, 64)
    values, _, marks = contents(tmp_path)
    assert values == [*(np.arange(256) / 16).tolist(), *(np.arange(320, 384) / 16).tolist()]
    assert marks == ["64 samples before this could not be recorded"]


def test_notice_that_raises_does_not_end_recording(tmp_path: Path, full: Callable[[int, int], None]) -> None:
    def closed(message: str) -> None:
        raise OSError("stderr is closed")

    recorded(tmp_path).finish()
    full(1000, 0)
    recorder = Recorder(tmp_path, {"run": "b"}, closed)
    recorder.observe(ramp(0))
    recorder.finish()
    assert (recorder.recorded_samples, recorder.lost_samples, recorder.removed_files) == (64, 0, 1)


def test_full_disk_counts_lost_samples_and_recording_resumes(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(200_000))
    messages: list[str] = []
    recorder = Recorder(small_disk, {"run": "a"}, messages.append, Retention(free_bytes=0))
    blocks = [SampleBlock(np.full(1000, 5.5) + i, 1000 * i, Fraction(128)) for i in range(12)]
    for block in blocks:
        recorder.observe(block)
        recorder.run()
    assert "No space left on device" in messages[0]
    assert len(messages) == 1
    assert recorder.describe()["failing"] == "No space left on device"
    kept = recorder.recorded_samples
    assert contents(small_disk)[0] == [value for block in blocks for value in block.values.tolist()][:kept]
    for _ in range(3):  # the five seconds are over, the disk is still full
        monkeypatch.setattr(recorder, "_retry_s", 0.0)
        recorder.observe(SampleBlock(np.full(20_000, 5.5), 100_000, Fraction(128)))
        recorder.run()
    assert [path.stat().st_size for path in in_order(small_disk)] == [in_order(small_disk)[0].stat().st_size]
    assert in_order(small_disk)[0].stat().st_size > 0
    filler.unlink()
    monkeypatch.setattr(recorder, "_retry_s", 0.0)
    recorder.observe(SampleBlock(np.full(100, 7.0), 500_000, Fraction(128)))
    recorder.finish()
    assert messages[1].startswith("recording resumes in ")
    assert recorder.recorded_samples + recorder.lost_samples == 12_000 + 60_000 + 100
    values, _, marks = contents(small_disk)
    assert values[kept:] == [7.0] * 100
    assert marks == [f"{recorder.lost_samples} samples before this could not be recorded"]


def test_oldest_recordings_are_removed_for_space_and_named(
    tmp_path: Path, full: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in range(3):
        recorded(tmp_path, str(run)).finish()
    (tmp_path / "notes.txt").write_text("not mine to remove")
    oldest = in_order(tmp_path)
    free = chain([0, 50], repeat(100))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1000, 0, next(free)))
    messages: list[str] = []
    recorder = Recorder(tmp_path, {"run": "new"}, messages.append)
    recorder.observe(ramp(9))
    recorder.finish()
    assert in_order(tmp_path)[0] == oldest[2]
    assert len(in_order(tmp_path)) == 2
    assert (tmp_path / "notes.txt").exists()
    removed = [f"the recording {path} was removed, because its disk is too full (--record-free)" for path in oldest[:2]]
    assert messages == removed
    assert contents(tmp_path)[2] == removed
    assert recorder.describe()["removed_files"] == 2


def test_free_space_is_at_most_a_tenth_of_the_disk(tmp_path: Path, full: Callable[[int, int], None]) -> None:
    recorded(tmp_path).finish()
    full(256 << 10, 27 << 10)  # a small disk, which never has 500 MB free
    recorded_now = Recorder(tmp_path, {"run": "b"}, print)
    recorded_now.observe(ramp(0))
    recorded_now.finish()
    assert len(in_order(tmp_path)) == 2
    full(256 << 10, 25 << 10)
    again = Recorder(tmp_path, {"run": "c"}, print)
    again.observe(ramp(0))
    again.finish()
    assert [path.name[:6] for path in in_order(tmp_path)] == ["000003"]


def test_file_ends_before_it_fills_what_is_left_free(
    tmp_path: Path, full: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    full(3 << 20, 2 << 20)  # a tenth of this disk is left free: 314 kB
    recorder = Recorder(tmp_path, {"run": "a"}, print)
    for number in range(100):
        recorder.observe(ramp(number, 1000))
        recorder.run()
    recorder.finish()
    sizes = [path.stat().st_size for path in in_order(tmp_path)]
    assert len(sizes) > 4
    assert all((3 << 20) // 20 <= size < (3 << 20) // 10 for size in sizes[:-1])
    assert contents(tmp_path)[0] == [value / 16 for value in range(100_000)]


@pytest.mark.parametrize(
    ("total", "free_bytes", "limit"),
    [(16 << 30, 500 << 20, 64 << 20), (320 << 20, 500 << 20, 16 << 20), (16 << 30, 0, 64 << 20), (4096, 1, 1 << 16)],
)
def test_size_of_files_fits_the_disk(
    tmp_path: Path, full: Callable[[int, int], None], total: int, free_bytes: int, limit: int
) -> None:
    full(total, 0)
    assert file_limit(tmp_path, Retention(free_bytes=free_bytes)) == limit


def test_recordings_of_a_running_process_are_never_removed(
    tmp_path: Path, full: Callable[[int, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = recorded(tmp_path, "other")
    monkeypatch.setattr(other, "_day", "yesterday")
    other.observe(ramp(4))
    other.run()
    assert len(in_order(tmp_path)) == 2
    recorded(tmp_path, "ended").finish()
    full(1000, 0)
    recorder = Recorder(tmp_path, {"run": "b"}, print)
    recorder.observe(ramp(0))
    recorder.finish()
    assert [path.name[:11] for path in in_order(tmp_path)] == ["000001-0001", "000001-0002", "000003-0001"]
    other.finish()
    assert contents(tmp_path)[0][:320] == (np.arange(320) / 16).tolist()


def test_open_recording_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    recorder = recorded(tmp_path)
    with in_order(tmp_path)[0].open("rb") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        recorder.finish()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
