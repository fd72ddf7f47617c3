import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.errors import DataError
from ekd_edge.signal.design import eeg_spec, gsr_spec
from ekd_train.cli.main import main
from ekd_train.data.cache.listing import entries
from ekd_train.data.source import Source, open_dataset
from ekd_train.data.windows import WindowSet

GSR = gsr_spec(rate_hz=Fraction(16), window_s=4.0, hop_s=2.0)
EEG = eeg_spec(rate_hz=Fraction(16), window_s=4.0, hop_s=2.0)
SMALL = "synthetic?subjects=3&trials=4&trial_s=12&eeg_channels=2"
MORE = "synthetic?subjects=8&trials=4&trial_s=12&eeg_channels=2"
ARRAYS = ("gsr", "eeg", "ratings", "labels", "subject", "trial", "recording", "end_s")

LOAD = """
import hashlib, json, resource, sys
from fractions import Fraction
from ekd_edge.signal.design import eeg_spec, gsr_spec
from ekd_train.data.source import open_dataset
source = open_dataset(sys.argv[1])
hop_s = float(sys.argv[2])
specs = [make(rate_hz=Fraction(16), window_s=4.0, hop_s=hop_s) for make in (gsr_spec, eeg_spec)]
def pause(done, total):
    if done == 6 and "pause" in sys.argv:
        print("in the middle", flush=True)
        sys.stdin.readline()
if "limit" in sys.argv:
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
windows = source.windows(*specs, progress=pause)
digest = hashlib.sha256(windows.eeg.tobytes() + windows.gsr.tobytes()).hexdigest()
print(json.dumps({"digest": digest, "notes": source.notes}))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EKD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "windows"


def load(name: str = SMALL, hop_s: float = 2.0, **options: object) -> tuple[WindowSet, list[str]]:
    source = open_dataset(name)
    specs = [replace(spec, hop_samples=round(16 * hop_s)) for spec in (GSR, EEG)]
    return source.windows(*specs, **options), source.notes  # type: ignore[arg-type]


def digest(windows: WindowSet) -> str:
    assert windows.eeg is not None
    return hashlib.sha256(windows.eeg.tobytes() + windows.gsr.tobytes()).hexdigest()


def start(name: str, hop_s: float = 2.0, *options: str) -> "subprocess.Popen[str]":
    """Start a process that loads windows and prints their digest and the notes."""
    command = [sys.executable, "-c", LOAD, name, str(hop_s), *options]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def start_and_pause(name: str) -> "subprocess.Popen[str]":
    """Start a process that pauses in the middle of a conversion until it reads a line."""
    process = start(name, 2.0, "pause")
    assert process.stdout is not None
    assert process.stdout.readline() == "in the middle\n"
    return process


def finish(process: "subprocess.Popen[str]") -> dict[str, object]:
    with process:
        out, _ = process.communicate("\n")
    assert process.returncode == 0
    result: dict[str, object] = json.loads(out)
    return result


def assert_equal(one: WindowSet, other: WindowSet) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def is_mapped(array: np.ndarray) -> bool:
    base: object = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    return isinstance(base, np.memmap)


def the_entry(cache: Path) -> Path:
    (entry,) = cache.iterdir()
    return entry


def test_second_load_maps_the_entry_of_the_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EKD_CACHE", "off")
    plain, notes = load()
    assert notes == []
    assert not cache.exists()
    monkeypatch.setenv("EKD_CACHE", str(cache.parent))
    first, (note,) = load()
    assert re.fullmatch(rf"the windows of .* are stored in {cache} \(0\.\d MB\): ekd-train cache lists .*", note)
    seen: list[int] = []
    second, notes = load(progress=lambda done, total: seen.append(done))
    assert (notes, seen) == ([], [])
    for windows in (first, second):
        assert_equal(windows, plain)
        assert windows.eeg is not None
        assert is_mapped(windows.gsr)
        assert is_mapped(windows.eeg)
        assert not windows.eeg.flags.writeable
    assert sorted(path.name for path in the_entry(cache).iterdir()) == ["eeg.npy", "entry.json", "gsr.npy"]
    np.testing.assert_array_equal(np.load(the_entry(cache) / "eeg.npy"), plain.eeg)


def test_entry_serves_all_subjects_targets_and_thresholds(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choices: list[dict[str, object]] = [
        {},
        {"targets": ("valence", "arousal"), "threshold": 4.0},
        {"subjects": ["s001", "s002"]},
        {"subjects": ["s002", "s000"], "high": "at-or-above"},
        {"subjects": ["s001"]},
    ]
    cached = [load(**choice)[0] for choice in choices]
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setenv("EKD_CACHE", "off")
    for choice, windows in zip(choices, cached, strict=True):
        assert_equal(windows, load(**choice)[0])
        assert is_mapped(windows.gsr) == (choice.get("subjects") != ["s002", "s000"])


def test_different_data_specifications_and_features_have_separate_entries(cache: Path) -> None:
    requests: list[Callable[[Source], WindowSet]] = [
        lambda source: source.windows(GSR, EEG),
        lambda source: source.windows(GSR, None),
        lambda source: source.windows(GSR, EEG, eeg_features="bandpower"),
        lambda source: source.windows(gsr_spec(rate_hz=Fraction(16), hop_s=2.0, cutoff_hz=2.0), EEG),
        lambda source: source.windows(GSR, eeg_spec(rate_hz=Fraction(16), hop_s=2.0, sos=GSR.sos)),
    ]
    for number, request in enumerate(requests, start=1):
        request(open_dataset(SMALL))
        assert len(list(cache.iterdir())) == number
    load(SMALL + "&seed=1")
    assert len(list(cache.iterdir())) == len(requests) + 1
    open_dataset(SMALL).windows(GSR, None, eeg_features="bandpower")
    assert len(list(cache.iterdir())) == len(requests) + 1, "without EEG its features do not matter"


def test_moved_recordings_are_found_and_changed_ones_converted_again(cache: Path, folder: Path) -> None:
    first, _ = load(f"recordings:{folder}")
    moved = folder.parent / "moved"
    shutil.copytree(folder, moved)
    assert load(f"recordings:{moved}")[1] == []
    path = moved / "s001.csv"
    about, text = path.stat(), path.read_text()
    half = len(text) // 2
    path.write_text(text[:half] + re.sub(r"\n\d", lambda digit: f"\n{9 - int(digit[0])}", text[half:], count=1))
    assert len(path.read_text()) == len(text)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    changed, _ = load(f"recordings:{moved}")
    assert not np.array_equal(changed.gsr, first.gsr)
    assert len(list(cache.iterdir())) == 2


def test_left_out_recordings_are_reported_at_every_load(cache: Path, folder: Path) -> None:
    labels = folder / "labels.csv"
    lines = labels.read_text().splitlines()
    short = [*lines[1].split(",")[:2], "short", "1.0", "3.0", "4", ""]
    labels.write_text("\n".join([*lines, ",".join(short)]) + "\n")
    messages = []
    for targets in (("arousal",), ("arousal",), ("valence",)):
        source = open_dataset(f"recordings:{folder}")
        source.windows(GSR, EEG, targets)
        source.windows(GSR, EEG, targets)
        messages.append([note for note in source.notes if "stored in" not in note])
    assert messages[0] == messages[1] == ["trial short of s000 is shorter than a window of 4 s"]
    assert messages[2] == ["1 trials of s000 have no rating of valence"]


def test_data_changed_during_reading_are_refused(cache: Path, folder: Path) -> None:
    def change(done: int, total: int) -> None:
        with (folder / "s001.csv").open("a") as file:
            file.write("5.0,1.0,1.0\n")

    with pytest.raises(DataError, match="changed while it was read"):
        load(f"recordings:{folder}", progress=change)
    assert list(cache.iterdir()) == []


def test_faulty_data_leave_no_files_in_the_cache(cache: Path, folder: Path) -> None:
    (folder / "s002.csv").write_text("# rate_hz: 128\ngsr,eeg_F3,eeg_F4\n5,nan,1\n")
    with pytest.raises(DataError, match=r"s002\.csv: the file contains no samples"):
        load(f"recordings:{folder}")
    assert list(cache.iterdir()) == []
    (folder / "s002.csv").unlink()
    source = Source("gone", open_dataset(SMALL).dataset)
    source.dataset.read = _unreadable  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r"cannot read /dev/sleep: Too tired"):
        source.windows(GSR, EEG, subjects=["s000"])


def _unreadable(subjects: object, eeg: bool = True) -> list[object]:
    raise OSError(5, "Too tired", "/dev/sleep")


def _edit_entry(change: Callable[[dict[str, object]], None]) -> Callable[[Path], None]:
    def edit(entry: Path) -> None:
        text = json.loads((entry / "entry.json").read_text())
        change(text)
        (entry / "entry.json").write_text(json.dumps(text))

    return edit


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gsr cut": lambda entry: os.truncate(entry / "gsr.npy", 1000),
    "eeg cut by a byte": lambda entry: os.truncate(entry / "eeg.npy", (entry / "eeg.npy").stat().st_size - 1),
    "eeg empty": lambda entry: os.truncate(entry / "eeg.npy", 0),
    "gsr too long": lambda entry: os.truncate(entry / "gsr.npy", (entry / "gsr.npy").stat().st_size + 1),
    "gsr is eeg": lambda entry: shutil.copy(entry / "eeg.npy", entry / "gsr.npy"),
    "eeg absent": lambda entry: (entry / "eeg.npy").unlink(),
    "header": lambda entry: (entry / "eeg.npy").write_bytes((entry / "eeg.npy").read_bytes().replace(b"f4", b"i4", 1)),
    "entry cut": lambda entry: os.truncate(entry / "entry.json", 100),
    "entry empty": lambda entry: os.truncate(entry / "entry.json", 0),
    "entry absent": lambda entry: (entry / "entry.json").unlink(),
    "entry no object": lambda entry: (entry / "entry.json").write_text("[1]"),
    "a rating": _edit_entry(lambda text: text["entry"]["trials"][0]["ratings"].update(arousal=9.0)),  # type: ignore[index]
    "a trial less": _edit_entry(lambda text: text["entry"]["trials"].pop()),  # type: ignore[index]
    "nothing in it": lambda entry: [path.unlink() for path in entry.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_entry_is_replaced(cache: Path, damage: Callable[[Path], object]) -> None:
    plain, _ = load()
    saved = WindowSet(targets=plain.targets, **{name: np.array(getattr(plain, name)) for name in ARRAYS})
    del plain
    damage(the_entry(cache))
    again, notes = load()
    assert_equal(again, saved)
    assert notes[0] == f"the cached windows in {the_entry(cache)} are damaged and are converted again"
    assert load()[1] == []


def test_entry_under_another_key_is_replaced(cache: Path) -> None:
    plain, _ = load()
    ours = the_entry(cache)
    load(SMALL + "&seed=1")
    (theirs,) = set(cache.iterdir()) - {ours}
    shutil.rmtree(ours)
    theirs.rename(ours)
    again, notes = load()
    assert_equal(again, plain)
    assert "damaged" in notes[0]


def test_killed_conversion_is_cleaned_up_and_repeated(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start_and_pause(MORE)
    (eeg,) = cache.glob("*.part/eeg.npy")
    assert eeg.stat().st_size > 0
    process.send_signal(signal.SIGKILL)
    with process:
        process.communicate()
    assert {path.suffix for path in cache.iterdir()} == {".part", ".lock"}
    assert [entry.data for entry in entries()] == ["(unfinished)"]
    load()  # writing another entry cleans up
    the_entry(cache)
    made, _ = load(MORE)
    monkeypatch.setenv("EKD_CACHE", "off")
    assert_equal(made, load(MORE)[0])
    assert [path.suffix for path in cache.iterdir()] == ["", ""]


def test_concurrent_processes_convert_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [finish(process) for process in [start(SMALL, 0.25) for _ in range(3)]]
    assert len({str(result["digest"]) for result in results}) == 1
    assert sum(len(result["notes"]) for result in results) == 1  # type: ignore[misc, arg-type]
    the_entry(cache)
    monkeypatch.setenv("EKD_CACHE", "off")
    assert digest(load(hop_s=0.25)[0]) == results[0]["digest"]


def test_full_disk_is_reported_once_and_loading_continues(cache: Path) -> None:
    """A limit on the size of files simulates the full disk. Both end a write in the middle."""
    result = finish(start(SMALL, 0.25, "limit"))
    (note,) = result["notes"]  # type: ignore[misc]
    assert note == (
        f"the cache {cache.parent} cannot be used (File too large), so {SMALL} is converted each time: free disk space "
        "there or set EKD_CACHE to another folder"
    )
    assert list(cache.iterdir()) == []
    assert result["digest"] == digest(load(hop_s=0.25)[0])
    mapped = finish(start(SMALL, 0.25, "limit"))
    assert mapped["notes"] == [], "an existing entry is mapped without a write"


def test_impossible_folder_is_reported_and_loading_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EKD_CACHE", "/dev/null/cache")
    windows, (note,) = load()
    assert "the cache /dev/null/cache cannot be used (Not a directory)" in note
    monkeypatch.setenv("EKD_CACHE", "")
    plain, notes = load()
    assert notes == []
    assert_equal(windows, plain)


def test_mapped_entry_is_readable_after_clearing(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    windows, _ = load()
    before = windows.gsr.sum()
    ours = [cache / "of-mine", cache / "also.part", cache.parent / "my-hashes.txt"]
    for path in ours:
        path.mkdir()
    assert main(["cache"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[0].startswith(f"{cache}: 1 entries, 0.")
    assert re.fullmatch(rf" *0\.\d MB +{len(windows)} windows  made 20.* used 20.*  {re.escape(SMALL)}", listed[1])
    assert main(["cache", "--clear"]) == 0
    assert re.fullmatch(r"0\.\d MB freed\n", capsys.readouterr().out)
    assert all(path.exists() for path in ours)
    assert len(list(cache.iterdir())) == 2
    assert windows.gsr.sum() == before
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"{cache}: 0 entries, 0.0 MB\n"


def test_disabled_cache_is_listed_and_cleared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EKD_CACHE", "off")
    assert main(["cache"]) == 0
    assert "the cache is off" in capsys.readouterr().out
    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == "0.0 MB freed\n"


def test_entry_in_progress_is_not_cleared(cache: Path) -> None:
    process = start_and_pause(MORE)
    assert [entry.data for entry in entries()] == ["(being written)"]
    assert main(["cache", "--clear"]) == 0
    assert len(finish(process)["notes"]) == 1  # type: ignore[arg-type]
    the_entry(cache)


MEASURE = """
import sys
from fractions import Fraction
from pathlib import Path
from ekd_edge.signal.design import eeg_spec, gsr_spec
from ekd_train.data.source import open_dataset
def peak_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
source = open_dataset(sys.argv[1])
source.windows(gsr_spec(hop_s=4.0), eeg_spec(hop_s=4.0), subjects=["s000"])
before = peak_mb()
windows = source.windows(gsr_spec(hop_s=0.25), eeg_spec(hop_s=0.25))
print(peak_mb() - before, windows.eeg.nbytes / 2**20)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not report peak memory")
def test_conversion_uses_memory_of_one_subject(cache: Path) -> None:
    name = "synthetic?subjects=12&trials=2&trial_s=60&eeg_channels=16"
    command = [sys.executable, "-c", MEASURE, name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    grown_mb, total_mb = map(float, done.stdout.split())
    assert total_mb > 150
    assert grown_mb < total_mb / 2
