"""Contract of prose: code, pages and tests contain no words that CONTRIBUTING.md replaces."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

FOLDERS = ("firmware_bridge", "ekd_edge", "train", "export", "benchmarks", "docs", "examples", "tests")
PAGES = ("README.md", "ARCHITECTURE.md", "BENCHMARKS.md", "CHANGELOG.md", "Makefile", "pyproject.toml")
REPLACED = {
    "told": r"told\b",
    "whoever": r"whoever\b",
    "whatever": r"whatever\b",
    "anew": r"anew\b",
    "what is to be": r"what is to be\b",
    "fare": r"fares?\b",
    "beside": r"beside\b",
    "distil with one l": r"distil(?!l|ation)",
    "is no NOUN": r"(?<!there )is no (?!longer\b|more\b|less\b)",
    "lies": r"lies\b",
    "alone for only": r"alone(?=[.;]?(?:\"|$)|[.;] )",
    "nobody": r"(?<!chown )(?<!reuid )nobody\b",  # except the user of that name
}
"""Patterns by the names of the words; a letter before a match excludes it."""


def files_with_prose() -> list[Path]:
    found = [
        path for name in FOLDERS for end in ("py", "md", "c", "h", "toml") for path in (ROOT / name).rglob(f"*.{end}")
    ]
    return [*(path for path in found if path != Path(__file__)), *(ROOT / name for name in PAGES)]


@cache
def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def pattern_of(word: str) -> re.Pattern[str]:
    return re.compile(r"(?<![A-Za-z])" + REPLACED[word], re.IGNORECASE)


@pytest.mark.parametrize("word", REPLACED)
def test_replaced_word_is_absent(word: str) -> None:
    pattern = pattern_of(word)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files_with_prose()
        for number, line in enumerate(lines_of(path), 1)
        if pattern.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("word", "refused", "allowed"),
    [
        ("is no NOUN", "a path is no name", "There is no name"),
        ("is no NOUN", "None where it is no such frame", "the port is no longer open"),
        ("lies", "the file lies there", "the rule applies"),
        ("nobody", "nobody reads it", "setpriv --reuid nobody"),
        ("alone for only", "from its values alone.", "compare(windows, alone, strict=True)"),
        ("told", "a device is told", "a threshold"),
    ],
)
def test_pattern_finds_the_replaced_use_only(word: str, refused: str, allowed: str) -> None:
    assert pattern_of(word).search(refused)
    assert not pattern_of(word).search(allowed)
