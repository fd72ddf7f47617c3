"""The matrix of faults: each row has the injected fault, the expected behavior and the measurement."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.helpers.paths import ROOT

LONG = os.environ.get("EKD_FAULTS") == "long"
"""As `make soak` runs it."""

Row = Callable[[str, str, str, str], None]


@pytest.fixture(scope="session")
def rows() -> Iterator[list[tuple[str, str, str, str]]]:
    """The matrix is written to build/faults.md at the end."""
    rows: list[tuple[str, str, str, str]] = []
    yield rows
    lines = ["| fault | injected | expected | measured |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "faults.md").write_text("\n".join(lines) + "\n")


@pytest.fixture
def row(rows: list[tuple[str, str, str, str]]) -> Row:
    """row(fault, injected, expected, measured)"""
    return lambda *cells: rows.append(cells)


@pytest.fixture(scope="session")
def many() -> Callable[[int, int], int]:
    """many(short, long): how often, in the matrix that is run."""
    return lambda short, long: long if LONG else short
