"""The commands of ekd-edge: help and suggestions. tests/contracts/test_commands.py holds what all programs share."""

import subprocess
import sys

import pytest

from ekd_edge.cli.main import PROGRAM, main


@pytest.mark.parametrize("name", [command.name for command in PROGRAM.commands])
def test_command_is_named_in_the_help_and_has_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert f"    {name} " in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"usage: ekd-edge {name} " in capsys.readouterr().out


def test_mistyped_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundel"]) == 2
    assert capsys.readouterr().err.endswith("did you mean bundle?\n")


def test_module_runs_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "ekd_edge", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ekd ")
