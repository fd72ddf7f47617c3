"""Every benchmark runs from a fresh checkout at its smallest size; its figures are not checked."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

NAMES = sorted(path.stem for path in (ROOT / "benchmarks").glob("bench_*.py"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project without results of earlier runs."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_benchmark_runs_from_a_fresh_checkout(name: str, checkout: Path) -> None:
    for package in ("torch", "litert_torch", "onnx"):
        pytest.importorskip(package, reason="the training or the export extra is not installed")
    command = [sys.executable, "-m", f"benchmarks.{name}", "--smoke"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, env=os.environ | {"EKD_CACHE": "off"})
    assert done.returncode == 0, done.stderr
    figures = json.loads((checkout / f"build/bench/smoke/{name.removeprefix('bench_')}.json").read_text())
    assert figures["machine.cores"] >= 1
