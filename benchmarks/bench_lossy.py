"""Predictions on a link that loses samples, for several lengths of the gaps that are interpolated (`bridge_s`).

Three sets of real skin conductance: wrists (Stress-Predict, 4 Hz), a finger (BioSPPy, 1000 Hz) and two fingers
(NeuroKit, 100 Hz). Of each recording 1 % of the samples is left out, singly or in bursts of a stated length; the demo
model predicts from the rest. `predicted` is the share of the labels of the whole recording for which the lossy one has
a label at the same time, within half a step between windows; `same` is the share of those that are equal. A second
table has the error of the interpolation: the largest one within a gap, for gaps at all places of the recordings.

    python -m benchmarks.bench_lossy [--data ../shared/data] [--wrists 12]       about a minute on one core
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.bench import ROOT, options_of, table, write
from ekd_edge.model.file import ModelFile, load_model_file
from ekd_edge.model.find import DEMO_FILE
from ekd_edge.model.interpreter import Classifier, open_classifier
from ekd_edge.pipeline.stream import predict_stream
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.signal.bridge import longest_bridge
from firmware_bridge.emulation.waveforms import simulated_blocks
from firmware_bridge.units import Unit

BRIDGES_S = (0.0, 0.1, 0.25, 0.5, 1.0)
BURSTS_S = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Lengths of the bursts of lost samples; 0 for single samples."""
LOST = 0.01

Labels = dict[float, str]
"""The label of each window that has one, by the window's end in seconds."""


def recordings(folder: Path, wrists: int) -> dict[str, list[SampleBlock]]:
    """The recordings of each data set, each as one block; those that are in the folder."""
    found: dict[str, list[SampleBlock]] = {}
    for path in sorted((folder / "stress_predict_eda").glob("S*/EDA.csv"))[:wrists]:
        _, rate, *values = np.loadtxt(path).tolist()
        found.setdefault("Stress-Predict, 4 Hz", []).append(SampleBlock(np.array(values), 0, Fraction(rate)))
    if (path := folder / "biosppy_eda" / "eda.txt").is_file():
        counts, unit = np.loadtxt(path), Unit("adc", 12)
        block = SampleBlock(unit.to_microsiemens(counts), 0, Fraction(1000), 0, counts, unit)
        found["BioSPPy, 1000 Hz"] = [block]
    for path in sorted((folder / "neurokit_bio").glob("*.csv")):
        with path.open() as file:
            column = file.readline().strip().split(",").index("EDA")
        values = np.loadtxt(path, delimiter=",", skiprows=1, usecols=column)
        found.setdefault("NeuroKit, 100 Hz", []).append(SampleBlock(values, 0, Fraction(100)))
    return found


def lossy(block: SampleBlock, burst_s: float, seed: int) -> Iterator[SampleBlock]:
    """The block without `LOST` of its samples, in bursts that begin at random."""
    n = block.values.shape[-1]
    burst = max(1, round(burst_s * block.rate_hz))
    keep = np.ones(n, np.bool_)
    starts = np.random.default_rng(seed).choice(n, size=round(LOST * n / burst), replace=False)
    for start in starts.tolist():
        keep[start : start + burst] = False
    edges = [0, *(np.flatnonzero(np.diff(keep)) + 1).tolist(), n]
    for first, end in pairwise(edges):
        if keep[first]:
            readings = None if block.readings is None else block.readings[first:end]
            yield replace(block, values=block.values[first:end], first_index=first, readings=readings)


def labels(blocks: Iterator[SampleBlock], model: ModelFile, classifier: Classifier, bridge_s: float) -> Labels:
    signal = replace(model.manifest.signal, bridge_s=bridge_s)
    found = predict_stream(blocks, replace(model.manifest, signal=signal), classifier)
    target = model.manifest.targets[0].name
    return {each.time_s: label for each in found if (label := each.labels[target]) is not None}


def compare(clean: Labels, other: Labels, hop_s: float) -> tuple[int, int]:
    """How many of the clean labels have a label at the same time, and how many of those the same."""
    if not other:
        return 0, 0
    times = np.array(sorted(other))
    predicted = same = 0
    for time_s, label in clean.items():
        nearest = float(times[np.abs(times - time_s).argmin()])
        if abs(nearest - time_s) <= hop_s / 2:
            predicted += 1
            same += other[nearest] == label
    return predicted, same


def interpolation_errors(blocks: list[SampleBlock], gap_s: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The largest error in uS within a gap of this length, for a gap at each quarter of it; none below one sample."""
    errors = [np.empty(0)]
    for block in blocks:
        x, m = block.values, longest_bridge(gap_s, block.rate_hz)
        if m == 0:
            continue
        before = np.arange(0, len(x) - m - 1, max(1, m // 4))
        share = np.arange(1, m + 1) / (m + 1)
        line = x[before, None] + (x[before + m + 1] - x[before])[:, None] * share
        errors.append(np.abs(line - x[before[:, None] + 1 + np.arange(m)]).max(axis=1))
    return np.concatenate(errors)


def main() -> None:
    parser = options_of("Compare lengths of interpolated gaps on lossy recordings.")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the data sets")
    parser.add_argument("--wrists", type=int, default=12, help="recordings of Stress-Predict (default 12)")
    args = parser.parse_args()
    data, bridges_s, bursts_s = recordings(args.data, args.wrists), BRIDGES_S, BURSTS_S
    if args.smoke:
        bridges_s, bursts_s = (0.0, 0.25), (0.0,)
    elif not data:
        print(f"{args.data} has none of the data sets (name their folder with --data): synthetic data instead")
    if args.smoke or not data:
        values = np.concatenate([part for part, _ in zip(simulated_blocks(64.0, 1, 64), range(60), strict=False)])
        data = {"synthetic": [SampleBlock(values, 0, Fraction(64))]}
    model = load_model_file(DEMO_FILE)
    classifier = open_classifier(model)
    rows: list[list[object]] = []
    figures: dict[str, str | int | float] = {}
    for name, blocks in data.items():
        clean = [labels(iter([block]), model, classifier, 0.0) for block in blocks]
        for burst_s in bursts_s:
            row: list[object] = [name, f"{burst_s:g} s" if burst_s else "single"]
            for bridge_s in bridges_s:
                counts = np.zeros(3, np.int64)
                for seed, (block, expected) in enumerate(zip(blocks, clean, strict=True)):
                    found = labels(lossy(block, burst_s, seed), model, classifier, bridge_s)
                    counts += len(expected), *compare(expected, found, model.manifest.signal.hop_s)
                total, predicted, same = (int(count) for count in counts)
                row.append(f"{100 * predicted / total:.1f} / {100 * same / predicted:.1f}" if predicted else "0.0 / -")
                key = f"{name.split(',')[0].lower()}.burst_{burst_s:g}s.bridge_{bridge_s:g}s"
                figures |= {f"{key}.predicted": predicted / total, f"{key}.same": same / max(1, predicted)}
                figures[f"{name.split(',')[0].lower()}.windows"] = total
            rows.append(row)
            print(*row, flush=True)
    error_rows: list[list[object]] = []
    for name, blocks in data.items():
        found_errors = {gap_s: interpolation_errors(blocks, gap_s) for gap_s in bridges_s if gap_s}
        quantiles = {
            gap_s: np.quantile(errors, (0.5, 0.95, 0.99)) for gap_s, errors in found_errors.items() if len(errors)
        }
        cells = (" / ".join(f"{q:.3f}" for q in quantiles[s].tolist()) if s in quantiles else "-" for s in found_errors)
        error_rows.append([name, *cells])
        for gap_s, levels in quantiles.items():
            figures[f"{name.split(',')[0].lower()}.error_{gap_s:g}s.p95_us"] = float(levels[1])
    print("\n" + table(["predicted / same, %", "bursts", *(f"{each:g} s" for each in bridges_s)], rows))
    print("\n" + table(["error in uS, p50 / p95 / p99", *(f"{each:g} s" for each in bridges_s if each)], error_rows))
    print(write("lossy", figures, args.smoke))


if __name__ == "__main__":
    main()
