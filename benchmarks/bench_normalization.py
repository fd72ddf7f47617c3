"""Comparison of normalizations of skin conductance by a small student for each mode, on synthetic data.

For both shipped windows (4 s at 128 Hz, 32 s at 16 Hz) and every named mode, some with several time constants,
a reduced student is trained on the same people in the same order and tested on others. The modes have gains that give
similar amplitudes. `gain` is the mean difference to the default, over the same test subjects; below two of its
standard errors (+-) it is not significant. The data are synthetic.

    python -m benchmarks.bench_normalization [--seeds 1]        about five minutes on one core
"""

import math
import os
from fractions import Fraction
from itertools import chain

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.bench import options_of, table, write
from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.spec import Normalization
from ekd_train.data.source import open_dataset
from ekd_train.data.windows import WindowSet
from ekd_train.models.config import NetworkConfig
from ekd_train.models.student import Student

MODES = (
    Normalization(),
    *(Normalization("log-ema", seconds, 8.0) for seconds in (30.0, 90.0, 240.0)),
    Normalization("ema", 90.0, 1.0),
    Normalization("ema-zscore", 90.0, 1.0),
    Normalization("window", 90.0, 4.0),
    Normalization("none", 90.0, 0.2),
)
"""The default is the first mode; the others are compared with it."""
WINDOWS = ((Fraction(128), 4.0, 3), (Fraction(16), 32.0, 5))
"""Rate, window in seconds, epochs."""
BATCH, RATE = 64, 1e-3


def fit(train: WindowSet, epochs: int, samples: int) -> Student:
    torch.manual_seed(0)
    shape = NetworkConfig(window_samples=samples, filters=32, depth=2, heads=4, key_size=8, ffn=32)
    student = Student(shape)
    optimizer = torch.optim.Adam(student.parameters(), lr=RATE)
    gsr, labels = torch.tensor(train.gsr), torch.tensor(train.labels[:, 0])
    student.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(gsr)).split(BATCH):
            if len(batch) < BATCH:
                continue
            loss = functional.cross_entropy(student(gsr[batch]).logits[:, 0], labels[batch])
            loss = loss + student.regularization()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    recompute_statistics(student, gsr)
    return student


def recompute_statistics(student: Student, gsr: torch.Tensor) -> None:
    """Recompute BatchNorm's statistics, because the running means are close to their initial values after few steps."""
    norms = [m for m in student.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    student.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in torch.randperm(len(gsr))[:1024].split(128):
            student(gsr[batch])
    student.eval()


def accuracies(student: Student, test: WindowSet) -> list[float]:
    with torch.no_grad():
        logits = torch.cat([student(part).logits[:, 0] for part in torch.tensor(test.gsr).split(256)])
    right = logits.argmax(1).numpy() == test.labels[:, 0]
    return [float(right[test.subject == name].mean()) for name in test.subjects]


def main() -> None:
    os.environ.setdefault("EKD_CACHE", "off")
    parser = options_of("Compare normalizations of skin conductance.")
    parser.add_argument("--seeds", type=int, default=1, help="data seeds to average over (default 1)")
    parser.add_argument("--train", type=int, default=12, help="training subjects (default 12)")
    parser.add_argument("--test", type=int, default=12, help="test subjects (default 12)")
    args = parser.parse_args()
    modes, windows_of = MODES, WINDOWS
    if args.smoke:
        modes, windows_of = MODES[:2], WINDOWS[1:]
        args.seeds, args.train, args.test = 1, 2, 2
    rows: list[list[object]] = []
    default: dict[Fraction, list[float]] = {}
    figures: dict[str, str | int | float] = {}
    for mode in dict.fromkeys(modes):
        row: list[object] = [f"{mode.mode} {mode.time_constant_s:g} s x{mode.gain:g}"]
        for rate, window_s, epochs in windows_of:
            spec = gsr_spec(rate_hz=rate, window_s=window_s, hop_s=4.0, normalization=mode)
            scores: list[float] = []
            for seed in range(args.seeds):
                source = open_dataset(f"synthetic?subjects={args.train + args.test}&seed={seed}")
                windows = source.windows(spec, None)
                student = fit(windows.of_subjects(source.subjects[: args.train]), epochs, spec.window_samples)
                scores += accuracies(student, windows.of_subjects(source.subjects[args.train :]))
            if mode == Normalization():
                default[rate] = scores
            paired = np.subtract(scores, default[rate])
            mean, gain = float(np.mean(scores)), float(np.mean(paired))
            error = float(np.std(paired, ddof=1)) / math.sqrt(len(scores))
            row += [f"{100 * mean:.1f}", f"{100 * gain:+.1f}", f"{100 * error:.1f}"]
            key = f"{mode.mode}_{mode.time_constant_s:g}s.{rate}hz"
            figures |= {f"{key}.accuracy": mean, f"{key}.gain": gain, f"{key}.gain_standard_error": error}
        rows.append(row)
        print(*row, flush=True)
    columns = [(f"{rate} Hz x {window_s:g} s, %", "gain", "+-") for rate, window_s, _ in windows_of]
    print("\n" + table(["mode", *chain.from_iterable(columns)], rows))
    print("accuracy of arousal on unseen synthetic people")
    print(write("normalization", figures | {"seeds": args.seeds, "test_subjects": args.test}, args.smoke))


if __name__ == "__main__":
    main()
