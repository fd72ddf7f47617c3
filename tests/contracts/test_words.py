"""The product's prose keeps to the vocabulary of CONTRIBUTING.md: words that it replaces do not come back."""

import re
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

FOLDERS = ("firmware_bridge", "ekd_edge", "train", "export", "benchmarks", "docs", "examples")
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
}


def product_files() -> list[Path]:
    found = [
        path for name in FOLDERS for end in ("py", "md", "c", "h", "toml") for path in (ROOT / name).rglob(f"*.{end}")
    ]
    return [*found, *(ROOT / name for name in PAGES)]


@pytest.mark.parametrize("word", REPLACED)
def test_replaced_word_is_absent(word: str) -> None:
    pattern = re.compile(r"(?<![A-Za-z])" + REPLACED[word], re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in product_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []
