"""The commands and programs of README.md and docs/ run, each page's in one folder, in order."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from ekd_edge.model.find import default_model
from tests.docs.pages import PAGES, REASONS, blocks_of, run_block
from tests.helpers.paths import ROOT

RUN = [page for page in PAGES if any(block.marked and block.reason is None for block in blocks_of(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_executable_block_is_run_or_skipped_for_a_known_reason(page: Path) -> None:
    for block in blocks_of(page):
        assert block.marked or not block.executable, f"{page}:{block.line} has no marker: see tests/docs/pages.py"
        assert block.reason is None or block.reason in REASONS, f"{page}:{block.line}: {block.reason}"


def test_reasons_name_tests_that_exist_and_pages_use_all() -> None:
    named = [path for reason in REASONS.values() for path in re.findall(r"(?:tests|docs)/[\w./-]+[\w]", reason)]
    assert [path for path in named if not (ROOT / path).exists()] == []
    used = {block.reason for page in PAGES for block in blocks_of(page)}
    assert set(REASONS) <= used


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_a_page_run(page: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    (folder / "mine").mkdir(parents=True)
    if page.name == "sign-off-int8.md":
        shutil.copy(_demo_model(), folder / "student-int8.tflite")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "EKD_STATUS": str(tmp_path / "status"),
        "MPLBACKEND": "Agg",
    }
    for block in blocks_of(page):
        if block.marked and block.reason is None:
            run_block(block, folder, environment)


def _demo_model() -> Path:
    return default_model(environment={"EKD_MODEL": "demo"})
