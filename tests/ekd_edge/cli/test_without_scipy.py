"""ekd-edge and ekd-eval on a device, where scipy is not installed: here, a finder that refuses scipy comes first."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.edge_command import EDGE, predictions, recording
from tests.helpers.paths import ROOT

REFUSAL = """
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "scipy":
            print("scipy was asked for", file=sys.stderr)
            raise ModuleNotFoundError("No module named 'scipy'", name=name)

sys.meta_path.insert(0, Refused())
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(REFUSAL)
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "EKD_CACHE": "off"}


def run(environment: dict[str, str], *words: object) -> str:
    done = subprocess.run(list(map(str, words)), env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "scipy was asked for" not in done.stderr
    return done.stdout


def test_refusal_is_in_force(environment: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", "import scipy"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "scipy was asked for" in done.stderr


def test_live_predictions_need_no_scipy(environment: dict[str, str]) -> None:
    port = "sim://?speed=40&seconds=60"
    found = predictions(run(environment, EDGE, "--port", port, "--once", "--model", "demo", "--json"))
    assert len(found) > 20


def test_replay_gives_the_same_predictions_without_scipy(environment: dict[str, str], tmp_path: Path) -> None:
    words = ["--replay", recording(tmp_path / "r.csv", seconds=120), "--format", "csv", "--rate", "32", "--unit", "uS"]
    words += ["--model", "demo", "--json"]
    found = predictions(run(environment, EDGE, *words))
    assert len(found) > 60
    assert found == predictions(run(dict(os.environ), EDGE, *words))


@pytest.mark.parametrize("command", ["doctor", "status"])
def test_commands_of_a_device_need_no_scipy(environment: dict[str, str], command: str, tmp_path: Path) -> None:
    program = [sys.executable, EDGE, command, "--json"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300)
    assert "scipy" not in done.stdout + done.stderr


def test_evaluation_gives_the_same_figures_without_scipy(environment: dict[str, str]) -> None:
    model = ROOT / "ekd_edge" / "model" / "demo" / "student-int8.tflite"
    words = [str(Path(EDGE).with_name("ekd-eval")), "demo", model, "--data", "synthetic", "--json"]
    found = json.loads(run(environment, *words))
    assert found["comparisons"]
    assert found == json.loads(run(dict(os.environ), *words))


def test_design_of_a_filter_names_the_package_that_it_needs(environment: dict[str, str]) -> None:
    program = """
from importlib.machinery import PathFinder
from ekd_edge.errors import EkdError
from ekd_edge.signal.design import bandpass_sos, lowpass_sos
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name == "scipy" else find(name, *rest)
for design in (lambda: lowpass_sos(128, 5.0), lambda: bandpass_sos(128, 4.0, 45.0)):
    try:
        design()
    except EkdError as error:
        print(error)
"""
    lines = run(environment, sys.executable, "-c", program).splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("the design of a filter needs scipy, which is not installed: run `pip install ")
        assert line.endswith("[train]'`")
