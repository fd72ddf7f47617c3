"""The subcommands of ekd-edge; tests/contracts/test_commands.py tests what all commands have in common."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ekd_edge.cli.main import PROGRAM, main


@pytest.mark.parametrize("name", [command.name for command in PROGRAM.commands])
def test_subcommand_is_in_the_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert f"    {name} " in shown
    assert "[COMMAND]" in shown
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"usage: ekd-edge {name} " in capsys.readouterr().out


def test_mistyped_subcommand_names_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundel", "--os", "12"]) == 2
    message = capsys.readouterr().err
    assert "unknown command 'bundel'" in message
    assert message.endswith("did you mean bundle?\n")


@pytest.mark.parametrize("port", ["sim://", "/dev/ttyUSB0"])
def test_port_in_place_of_a_command_is_named_with_its_option(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([port, "--model", "demo"]) == 2
    assert capsys.readouterr().err == f"ekd-edge: '{port}' is not a command: write ekd-edge --port {port}\n"


def test_predict_by_name_is_the_default_command(capsys: pytest.CaptureFixture[str]) -> None:
    messages = []
    for command in ([], ["predict"]):
        assert main([*command, "--record", "r", "--replay", "x.csv"]) == 2
        messages.append(capsys.readouterr().err)
    assert messages == ["ekd-edge: --record needs a sensor: name one with --port\n"] * 2


def test_help_works_where_numpy_does_not_load(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "packages.zip", "w") as archive:
        archive.writestr("numpy/__init__.py", "from numpy._core import _multiarray_umath\n")
        archive.writestr("numpy/_core/__init__.py", "")
    command = [sys.executable, "-m", "ekd_edge.cli.main"]
    for arguments in (["--help"], ["doctor", "--help"]):
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path / "packages.zip")}
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "doctor" in done.stdout
