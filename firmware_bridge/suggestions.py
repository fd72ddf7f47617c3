"""Suggestions for misspelled names in error messages."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["closest", "did_you_mean"]

_CUTOFF = 0.6


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name most similar to `name`, ignoring case, or None if no known name is similar."""
    by_lower = {each.lower(): each for each in known}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=_CUTOFF)
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The text `; did you mean NAME?` to append to an error message, or "" if no known name is similar."""
    found = closest(name, known)
    return "" if found is None else f"; did you mean {found}?"
