"""Counts of the windows that were left out for their signal quality, by side of the split."""

from collections.abc import Mapping
from typing import Any

from ekd_edge.formatting import percent
from ekd_train.data.splits import Split, side_of_left_out, side_of_windows
from ekd_train.data.windows import WindowSet

__all__ = [
    "SIDES",
    "STATE_TITLES",
    "Counts",
    "count_left_out",
    "describe_left_out",
    "describe_quality",
    "share_of",
    "total_left_out",
]

SIDES = ("training", "validation", "test")

STATE_TITLES = {"carried": "carried from trial to trial", "restarted": "restarted at each trial"}
"""The states of the normalization in reports."""

Counts = Mapping[str, Mapping[str, int]]
"""For each of `SIDES`: "left_out", and "windows", which includes them."""


def count_left_out(split: Split, windows: WindowSet) -> dict[str, dict[str, int]]:
    """Return the number of windows of each side, and how many of them were left out."""
    kept, left_out = side_of_windows(split, windows), side_of_left_out(split, windows)
    counts = {}
    for number, name in enumerate(SIDES):
        lost = sum(trial.windows for trial, side in zip(windows.left_out, left_out, strict=True) if side == number)
        counts[name] = {"left_out": lost, "windows": lost + int((kept == number).sum())}
    return counts


def total_left_out(counts: Counts) -> tuple[int, int]:
    """Return the number of windows that were left out, and of all windows."""
    return (
        sum(side["left_out"] for side in counts.values()),
        sum(side["windows"] for side in counts.values()),
    )


def describe_left_out(counts: Counts) -> str:
    """Return a line such as "left out for signal quality: 12 of 345 windows (3.5%): training 12 of 200 (6.0%), ..."."""
    left_out, windows = total_left_out(counts)
    by_side = ", ".join(f"{name} {share_of(side['left_out'], side['windows'])}" for name, side in counts.items())
    line = f"left out for signal quality: {share_of(left_out, windows, ' windows')}"
    return f"{line}: {by_side}" if left_out else line


def describe_quality(quality: Mapping[str, Any]) -> str:
    """Return the line of `describe_left_out` for {"keep_bad_windows": ..., "sides": counts}, as runs store it."""
    if quality["keep_bad_windows"]:
        return "no window was left out for signal quality (signal.keep_bad_windows)"
    return describe_left_out(quality["sides"])


def share_of(part: int, whole: int, noun: str = "") -> str:
    """Return a part of a whole such as "123 of 4,567 windows (2.7%)"."""
    return f"{part:,} of {whole:,}{noun} ({percent(part / whole if whole else 0.0)})"
