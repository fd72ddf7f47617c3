"""Metrics of single windows before and after quantization: flips, class balance, calibration, error of the margin."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BINS",
    "Bin",
    "ClassBalance",
    "Flips",
    "LogitSample",
    "MarginError",
    "Reliability",
    "class_balance",
    "flips",
    "logit_sample",
    "margin_error",
    "reliability",
    "sqnr_db",
]

BINS = 15
MAX_SAMPLE_POINTS = 400
SAMPLE_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Flips:
    """Windows that only one of the two models classifies correctly (McNemar, Psychometrika 12, 1947).

    broken: correct before, wrong after; repaired: wrong before, correct after. p: exact two-sided binomial test of
    equal probability. It is descriptive, since the windows of one subject are not independent.
    """

    broken: int
    repaired: int
    p: float


@dataclass(frozen=True, slots=True)
class ClassBalance:
    """Number of windows of each class: labels, predictions before and predictions after."""

    labels: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bin:
    """Windows with a confidence above low, up to high; mean confidence and accuracy are None in an empty bin."""

    low: float
    high: float
    windows: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Reliability:
    """Expected calibration error (ECE) and its bins."""

    ece: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class LogitSample:
    """Logits of a sample of windows, evenly spaced, to four digits: one row a window, one column a class."""

    before: tuple[tuple[float, ...], ...]
    after: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class MarginError:
    """Error of the margin, the logit of the last class minus that of the first.

    With two classes, the sign of the margin is the class.
    sqnr_db: signal to noise ratio of the margin, see `sqnr_db`. mean_absolute: mean of |after - before|.
    mean_absolute_margin: mean of |before|, for comparison.
    """

    sqnr_db: float | None
    mean_absolute: float
    mean_absolute_margin: float


def flips(labels: NDArray[np.int64], before: NDArray[np.int64], after: NDArray[np.int64]) -> Flips:
    """Count flips; labels and the classes predicted before and after, each (n,)."""
    from scipy.special import bdtr

    broken = int(np.count_nonzero((before == labels) & (after != labels)))
    repaired = int(np.count_nonzero((before != labels) & (after == labels)))
    tail = float(bdtr(min(broken, repaired), broken + repaired, 0.5))
    return Flips(broken, repaired, min(1.0, 2 * tail))


def class_balance(
    labels: NDArray[np.int64], before: NDArray[np.int64], after: NDArray[np.int64], classes: int
) -> ClassBalance:
    """Count classes; labels and the classes predicted before and after, each (n,)."""
    counts = (np.bincount(each, minlength=classes).tolist() for each in (labels, before, after))
    return ClassBalance(*(tuple(each) for each in counts))


def reliability(labels: NDArray[np.int64], logits: NDArray[np.float32]) -> Reliability:
    """Reliability diagram and ECE; labels (n,), logits (n, classes), n at least 1.

    Confidence is the largest softmax probability. 15 bins of equal width over 0 to 1; ECE is the mean gap between
    confidence and accuracy, weighted by windows (Guo et al., On Calibration of Modern Neural Networks, ICML 2017,
    section 2).
    """
    from scipy.special import softmax

    confidence = softmax(logits.astype(np.float64), axis=1).max(axis=1)
    correct = logits.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    bins, error = [], 0.0
    for number in range(BINS):
        inside = place == number
        windows = int(np.count_nonzero(inside))
        edges = number / BINS, (number + 1) / BINS
        if windows == 0:
            bins.append(Bin(*edges, 0, None, None))
            continue
        mean_confidence, accuracy = float(confidence[inside].mean()), float(correct[inside].mean())
        error += windows / len(labels) * abs(mean_confidence - accuracy)
        bins.append(Bin(*edges, windows, mean_confidence, accuracy))
    return Reliability(error, tuple(bins))


def sqnr_db(before: NDArray[np.float32], after: NDArray[np.float32]) -> float | None:
    """Signal to quantization noise ratio (SQNR) in decibels; both arrays have the same shape.

    None where either power is zero: logits that did not change have an infinite ratio, logits of zero have none.
    """
    exact = before.astype(np.float64)
    signal = float(np.square(exact).sum())
    noise = float(np.square(after - exact).sum())
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def margin_error(before: NDArray[np.float32], after: NDArray[np.float32]) -> MarginError:
    """The error of the margin; logits (n, classes), n at least 1."""
    first, second = (each[:, -1] - each[:, 0] for each in (before, after))
    return MarginError(
        sqnr_db=sqnr_db(first, second),
        mean_absolute=float(np.abs(second - first).mean()),
        mean_absolute_margin=float(np.abs(first).mean()),
    )


def logit_sample(before: NDArray[np.float32], after: NDArray[np.float32]) -> LogitSample:
    """A sample of at most 400 logits for a scatter plot; both arrays (n, classes)."""
    n, classes = before.shape
    windows = min(n, max(1, MAX_SAMPLE_POINTS // classes))
    chosen = np.linspace(0, n - 1, windows).round().astype(np.int64)
    return LogitSample(_rounded(before[chosen]), _rounded(after[chosen]))


def _rounded(logits: NDArray[np.float32]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{value:.{SAMPLE_DIGITS}g}") for value in row) for row in logits.tolist())
