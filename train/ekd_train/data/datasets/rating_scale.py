"""Scales of ratings, and their linear mapping to the scale 1..9 of thresholds and labels.

A rating r of the scale low..high becomes 1 + 8 (r - low) / (high - low): the ends become 1 and 9, and the middle
becomes exactly 5, the default threshold.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from ekd_edge.errors import DataError
from firmware_bridge.home import expand_user
from firmware_bridge.suggestions import did_you_mean

__all__ = ["PROJECT_SCALE", "RatingScale", "folder_and_scale", "parse_scale", "split_scale", "with_scale"]

_NUMBER = r"(-?[0-9]{1,9}(?:\.[0-9]{1,9})?)"
_SCALE = re.compile(rf"\s*{_NUMBER}\s*(?:\.\.\.?|to|-|–|…)\s*{_NUMBER}\s*")
_STATED = re.compile(r"(.*?\S)\s*[(\[]([^()\[\]]+)[)\]]")


@dataclass(frozen=True, slots=True)
class RatingScale:
    """The lowest and the highest rating of a scale."""

    low: Fraction
    high: Fraction

    def __str__(self) -> str:
        return f"{float(self.low):g}..{float(self.high):g}"

    def rescaled(self, rating: Fraction) -> float | None:
        """The rating on the scale 1..9; None for a rating outside of this scale."""
        if not self.low <= rating <= self.high:
            return None
        return float(1 + 8 * (rating - self.low) / (self.high - self.low))


PROJECT_SCALE: Final = RatingScale(Fraction(1), Fraction(9))


def parse_scale(text: str) -> RatingScale:
    """A scale such as "1..5". Raises DataError for any other text, and where the end is not above the beginning."""
    match = _SCALE.fullmatch(text)
    if match is None:
        raise DataError(f"{text!r} is not a scale of ratings: write its lowest and highest rating, such as 1..5")
    low, high = Fraction(match[1]), Fraction(match[2])
    if not low < high:
        raise DataError(f"the scale {text!r} does not rise: write its lowest and highest rating, such as 1..5")
    return RatingScale(low, high)


def split_scale(column: str) -> tuple[str, RatingScale | None]:
    """The name and the scale in the header of a column, such as "valence (1..5)" or "valence[1-7]".

    The scale is None where the header states none. Raises DataError as `parse_scale`.
    """
    match = _STATED.fullmatch(column)
    if match is None or _SCALE.fullmatch(match[2]) is None:
        return column, None
    return match[1], parse_scale(match[2])


def folder_and_scale(argument: str) -> tuple[Path, RatingScale | None]:
    """The folder and the scale in the argument of a dataset: FOLDER or FOLDER?scale=1..5.

    A question mark may be part of the name of a folder that exists. Raises DataError for another option, and as
    `parse_scale`.
    """
    folder = expand_user(Path(argument))
    if "?" not in argument or folder.is_dir():
        return folder, None
    text, _, query = argument.rpartition("?")
    scale = None
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key != "scale":
            raise DataError(f"recordings: unknown option {key!r}, write ?scale=1..5{did_you_mean(key, ['scale'])}")
        scale = parse_scale(value)
    return expand_user(Path(text)), scale


def with_scale(data: str, scale: str) -> str:
    """The dataset's text with the scale of its ratings, for `--scale`.

    Raises DataError if the dataset is not a folder of recordings or has a scale already, and as `parse_scale`.
    """
    parse_scale(scale)
    kind, _, folder = data.partition(":")
    if kind != "recordings" or not folder:
        raise DataError("--scale holds for recordings:FOLDER, other datasets have their own scale: leave it out")
    if folder_and_scale(folder)[1] is not None:
        raise DataError(f"{data} states a scale already: leave --scale out")
    return f"{data}?scale={scale}"
