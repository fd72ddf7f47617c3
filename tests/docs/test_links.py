"""Links between the Markdown files of the project: files and headings exist."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

FILES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "--", "*.md"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_resolve(file: Path) -> None:
    text = _FENCED.sub("", file.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (file.parent / name).resolve() if name else file
        assert target.exists(), f"{file.relative_to(ROOT)}: there is no {link}"
        assert not anchor or anchor in _anchors(target), f"{file.relative_to(ROOT)}: there is no heading {link}"


@pytest.mark.parametrize("file", sorted((ROOT / "docs").rglob("*.md")), ids=lambda file: str(file.relative_to(ROOT)))
def test_index_links_to_each_page(file: Path) -> None:
    index = ROOT / "docs" / "README.md"
    assert file == index or f"({file.relative_to(index.parent)})" in index.read_text(encoding="utf-8")


def _anchors(file: Path) -> set[str]:
    """The anchors that GitHub creates for a file's headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", file.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
