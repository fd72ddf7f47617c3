"""Loading of DEAP from its files to windows in memory: 32 subjects x 40 trials x 15 windows of 28 EEG rows and GSR.

The files have DEAP's format (Python 2 pickles of 40 x 40 x 8064 float64) and contain synthetic noise. They are written
once to build/bench/deap. Each case runs in a separate process, in turns, with the files in the page cache. Memory is
the largest resident set of the process, including mapped pages.

  first    ekd with an empty cache: hash, read, convert, write the cache to disk, map it
  cached   ekd again, until the first batch and then once over all windows
  plain    the peer: pickle.load, scipy's sosfilt and lfilter, a loop that cuts windows, one array at the end. It
           computes the same values (compared before timing) but does not store them on disk.

    python -m benchmarks.bench_loading [--subjects 32] [--rounds 3]
"""

import argparse
import json
import math
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.bench import ROOT, options_of, ratio, table, write

TRIALS, CHANNELS, SAMPLES, RATE_HZ, BASELINE = 40, 40, 8064, 128, 384
GSR, WINDOW, BATCH = 36, 512, 64
TIME_CONSTANT_S = 90.0
FOLDER = ROOT / "build" / "bench" / "deap"
CACHE = ROOT / "build" / "bench" / "cache"


def pickled(array: np.ndarray) -> Iterator[bytes]:
    """Return a float64 array in the format of Python 2's cPickle with protocol 2."""
    raw = array.astype("<f8").tobytes()
    yield b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
    yield b"(" + b"".join(b"M" + n.to_bytes(2, "little") for n in array.shape) + b"t"
    yield b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    yield b"T" + len(raw).to_bytes(4, "little")
    yield raw
    yield b"tb"


def write_subject(path: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    waves = np.diff(rng.standard_normal((CHANNELS, SAMPLES + 1)).cumsum(axis=1) * 10.0, axis=1)
    waves[GSR] = 2e5 + 100.0 * rng.standard_normal(SAMPLES).cumsum()
    data = np.stack([np.roll(waves, 97 * trial, axis=1) for trial in range(TRIALS)])
    ratings = rng.uniform(1.0, 9.0, (TRIALS, 4)).round(2)
    aside = path.with_suffix(".part")
    with aside.open("wb") as file:
        file.write(b"\x80\x02}(U\x06labels")
        file.writelines(pickled(ratings))
        file.write(b"U\x04data")
        file.writelines(pickled(data))
        file.write(b"u.")
    aside.replace(path)


def prepare(subjects: int) -> Path:
    """Return a folder with links to the first `subjects` files; missing files are written."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    names = [f"s{number:02d}.dat" for number in range(1, subjects + 1)]
    absent = [name for name in names if not (FOLDER / name).exists()]
    needed = (len(absent) + subjects) * TRIALS * CHANNELS * SAMPLES * 8
    free = shutil.disk_usage(FOLDER).free
    if free < needed:
        sys.exit(f"this needs {needed / 1e9:.1f} GB in {FOLDER}, {free / 1e9:.1f} GB are free: use fewer --subjects")
    for name in absent:
        print(f"writing {FOLDER / name}", file=sys.stderr)
        write_subject(FOLDER / name, int(name[1:3]))
    some = FOLDER / f"first-{subjects}"
    some.mkdir(exist_ok=True)
    for name in names:
        if not (some / name).exists():
            (some / name).hardlink_to(FOLDER / name)
    return some


def ours(folder: Path, subjects: list[str] | None = None) -> dict[str, float]:
    from ekd_edge.signal.design import eeg_spec, gsr_spec
    from ekd_edge.signal.spec import Normalization
    from ekd_train.data.source import open_dataset

    zscore = Normalization("ema-zscore", TIME_CONSTANT_S, 1.0)
    gsr = gsr_spec(RATE_HZ, 4.0, 4.0, settle_s=3.0, normalization=zscore)
    eeg = eeg_spec(RATE_HZ, 4.0, 4.0, settle_s=3.0)
    start = time.perf_counter()
    windows = open_dataset(f"deap:{folder}").windows(
        gsr, eeg, ("valence", "arousal"), subjects=subjects, state="restarted"
    )  # as the peer, which normalizes each trial by itself
    assert windows.eeg is not None
    loaded = time.perf_counter()
    total = float(windows.eeg[:BATCH].sum() + windows.gsr[:BATCH].sum())
    first = time.perf_counter()
    for i in range(BATCH, len(windows), BATCH):
        total += float(windows.eeg[i : i + BATCH].sum() + windows.gsr[i : i + BATCH].sum())
    assert math.isfinite(total)
    passed = time.perf_counter()
    if subjects is not None:
        np.savez(CACHE / "ours.npz", eeg=windows.eeg, gsr=windows.gsr)
    return {"load_s": loaded - start, "first_batch_s": first - start, "pass_s": passed - first, "windows": len(windows)}


def plain(folder: Path, subjects: list[str] | None = None) -> dict[str, float]:
    from scipy.signal import butter, lfilter, sosfilt, sosfilt_zi

    from ekd_train.data.datasets.montage import CHANNELS as PICKED
    from ekd_train.data.datasets.montage import EEG_32

    def zscore(x: np.ndarray) -> np.ndarray:
        decay = math.exp(-1.0 / (TIME_CONSTANT_S * RATE_HZ))
        weight = 1.0 - decay ** np.arange(1, x.shape[-1] + 1)
        deviation = x - lfilter([1 - decay], [1, -decay], x) / weight
        return deviation / np.sqrt(lfilter([1 - decay], [1, -decay], deviation**2) / weight + 1e-6)

    rows = [EEG_32.index(name) for name in PICKED["28"]]
    sos = butter(4, 5.0, fs=RATE_HZ, output="sos")
    start = time.perf_counter()
    eeg_windows, gsr_windows, labels = [], [], []
    for path in sorted(folder.glob("s??.dat")):
        if subjects is not None and path.stem not in subjects:
            continue
        with path.open("rb") as file:
            subject = pickle.load(file, encoding="latin1")
        for trial, ratings in zip(subject["data"], subject["labels"], strict=True):
            conductance = 1e6 / trial[GSR]
            gsr = zscore(sosfilt(sos, conductance, zi=sosfilt_zi(sos) * conductance[0])[0])
            eeg = zscore(trial[rows])
            for begin in range(BASELINE, SAMPLES - WINDOW + 1, WINDOW):
                eeg_windows.append(eeg[:, begin : begin + WINDOW].astype(np.float32))
                gsr_windows.append(gsr[begin : begin + WINDOW].astype(np.float32))
                labels.append(ratings[:2] > 5)
    eeg_array, gsr_array, label_array = np.stack(eeg_windows), np.stack(gsr_windows), np.stack(labels)
    seconds = time.perf_counter() - start
    if subjects is not None:
        np.savez(CACHE / "plain.npz", eeg=eeg_array, gsr=gsr_array)
    return {"load_s": seconds, "windows": len(label_array)}


def largest_mb() -> float:
    """Return this process's largest resident set so far, in MB of 10**6 bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def run_case(case: str, folder: Path, subject: str | None = None) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.bench_loading", "--case", case, "--folder", str(folder)]
    command += ["--subject", subject] if subject else []
    environment = {**os.environ, "EKD_CACHE": str(CACHE)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def empty_cache() -> None:
    shutil.rmtree(CACHE, ignore_errors=True)
    CACHE.mkdir(parents=True)


def check_same(folder: Path) -> None:
    """Check that the peer's windows equal ekd's up to rounding."""
    empty_cache()
    for case in ("cached", "plain"):
        run_case(case, folder, "s01")
    with np.load(CACHE / "ours.npz") as one, np.load(CACHE / "plain.npz") as other:
        for name in ("eeg", "gsr"):
            assert one[name].shape == other[name].shape
            assert np.allclose(one[name], other[name], rtol=1e-4, atol=1e-4), name


def measure(subjects: int, rounds: int) -> dict[str, str | int | float]:
    """Run all cases in turns, print a table, and return the figures."""
    folder = prepare(subjects)
    check_same(prepare(1))
    for path in folder.iterdir():  # read into the page cache
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass
    found: dict[str, list[dict[str, float]]] = {"first": [], "cached": [], "plain": []}
    for turn in range(rounds):
        for case in ("first", "cached", "plain") if turn % 2 == 0 else ("plain", "first", "cached"):
            if case == "first":
                empty_cache()
            found[case].append(run_case(case, folder))
            print(case, {name: round(value, 3) for name, value in found[case][-1].items()}, file=sys.stderr)
    size_mb = sum(path.stat().st_size for path in CACHE.rglob("*") if path.is_file()) / 1e6
    shutil.rmtree(CACHE)

    def series(case: str, name: str) -> list[float]:
        return [each[name] for each in found[case]]

    def middle(case: str, name: str) -> float:
        return statistics.median(series(case, name))

    figures: dict[str, str | int | float] = {
        "subjects": subjects,
        "windows": int(middle("first", "windows")),
        "rounds": rounds,
        "deap_load_s": middle("first", "load_s"),
        "deap_load_peak_mb": max(series("first", "peak_mb")),
        "deap_cached_load_s": middle("cached", "load_s"),
        "deap_cached_first_batch_s": middle("cached", "first_batch_s"),
        "deap_cached_pass_s": middle("cached", "pass_s"),
        "deap_cached_peak_mb": max(series("cached", "peak_mb")),
        "deap_cache_mb": size_mb,
        "deap_plain_s": middle("plain", "load_s"),
        "deap_plain_peak_mb": max(series("plain", "peak_mb")),
        "deap_plain_to_load": ratio(series("plain", "load_s"), series("first", "load_s")),
        "deap_plain_to_cached_load": ratio(series("plain", "load_s"), series("cached", "load_s")),
        "deap_plain_peak_to_load_peak": ratio(series("plain", "peak_mb"), series("first", "peak_mb")),
    }
    rows = [
        [name, middle(case, "load_s"), f"{max(series(case, 'peak_mb')):.0f}", ratio(series("plain", "load_s"), against)]
        for name, case, against in [
            ("first load: convert and store", "first", series("first", "load_s")),
            ("second load: mapped", "cached", series("cached", "load_s")),
            ("plain pickle and scipy", "plain", series("plain", "load_s")),
        ]
    ]
    print(f"{figures['windows']} windows of {subjects} subjects (synthetic noise in DEAP's format)")
    print(table(["", "seconds", "peak MB", "times as fast as plain"], rows))
    print(
        f"second load: first batch after {figures['deap_cached_first_batch_s']:.3f} s, "
        f"all windows once in {figures['deap_cached_pass_s']:.2f} s more; {size_mb:.0f} MB on disk"
    )
    return figures


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--subjects", type=int, default=32, choices=range(1, 33), metavar="1..32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", choices=("first", "cached", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--subject", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        only = [options.subject] if options.subject else None
        result = (plain if options.case == "plain" else ours)(options.folder, only)
        print(json.dumps(result | {"peak_mb": largest_mb()}))
        return

    subjects, rounds = (1, 1) if options.smoke else (options.subjects, options.rounds)
    print(f"written to {write('loading', measure(subjects, rounds), options.smoke)}")


if __name__ == "__main__":
    main()
