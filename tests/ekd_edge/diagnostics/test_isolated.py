"""Checks in a process of their own: their findings, and what is reported where the process is ended."""

import sys
from pathlib import Path

import pytest

from ekd_edge.cli.main import main
from ekd_edge.diagnostics.isolated import isolated_findings

KILLED = """
import os, signal
os.kill(os.getpid(), signal.{signal})
"""


def test_findings_come_from_another_process(model_path: Path) -> None:
    found = {finding.name: finding for finding in isolated_findings(model_path, None, [])}
    assert {"Python", "numpy", "pyserial", "runtime", "model"} <= set(found)
    assert found["numpy"].level == "ok"
    assert str(model_path) in found["model"].message


@pytest.mark.parametrize("name", ["SIGILL", "SIGSEGV"])
def test_package_that_ends_python_is_a_fault_and_the_other_checks_are_made(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text(KILLED.format(signal=name))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path[1:])}")
    assert main(["doctor", "--record", str(tmp_path)]) == 2
    out = capsys.readouterr().out
    assert f"FAULT    packages        {name} ended Python while the package or model after the last line ran" in out
    assert " ok       disk " in out


def test_file_of_the_present_folder_takes_no_packages_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise RuntimeError('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    found = {finding.name: finding for finding in isolated_findings(None, None, [])}
    assert found["numpy"].level == "ok"


def test_check_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "serial.py").write_text("raise RuntimeError('a defect')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path[1:])}")
    *_, last = isolated_findings(None, None, [])
    assert (last.name, last.level) == ("packages", "fault")
    assert last.message == "the check of packages and model failed: RuntimeError: a defect"
