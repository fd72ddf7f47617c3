"""Contract of all console scripts: help, version, suggestions, and a closed or full stdout."""

import argparse
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from firmware_bridge.cli.program import Program, build_parser
from tests.helpers.commands import script
from tests.helpers.paths import ROOT

SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def programs() -> Iterator[tuple[str, Program]]:
    for name, target in SCRIPTS.items():
        yield name, import_module(target.partition(":")[0]).PROGRAM


PROGRAMS = dict(programs())
COMMANDS = [
    pytest.param(name, words, id=" ".join([name, *words]))
    for name, program in PROGRAMS.items()
    for words in ([], *([command.name] for command in program.commands if not command.hidden))
]
WITH_OPTIONS = [each for each in COMMANDS if each.values[1] or PROGRAMS[str(each.values[0])].default is not None]
WITH_SUBCOMMANDS = [name for name, program in PROGRAMS.items() if len(program.commands) > 1]


def required_arguments(program: Program, words: list[str]) -> list[str]:
    """Values of the required arguments; argparse would report missing ones before a mistyped option."""
    chosen = program.command(words[0]) if words else None
    parser = build_parser(program, chosen)
    arguments = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and chosen is not None:
            parser = action.choices[chosen.name]
    for action in parser._actions:
        if action.required and not isinstance(action, argparse._SubParsersAction):
            value = str(next(iter(action.choices))) if action.choices else "1"
            arguments += [*action.option_strings[-1:], value]
    return arguments


@cache
def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([script(name), *arguments], capture_output=True, text=True, timeout=300)


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(("name", "words"), COMMANDS)
def test_help_and_version_print_to_stdout(name: str, words: list[str]) -> None:
    shown = run(name, *words, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"usage: {' '.join([name, *words])} ")
    version = run(name, *words, "--version")
    assert (version.returncode, version.stderr) == (0, "")
    assert version.stdout.startswith("ekd ")


@pytest.mark.parametrize(("name", "words"), WITH_OPTIONS)
def test_mistyped_option_names_the_right_one(name: str, words: list[str]) -> None:
    program = PROGRAMS[name]
    done = run(name, *words, *required_arguments(program, words), "--versoin")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"{name}")
    assert "--versoin; did you mean --version?" in done.stderr


@pytest.mark.parametrize(("name", "words"), COMMANDS)
def test_paths_of_options_may_begin_with_the_home_folder(name: str, words: list[str]) -> None:
    parser = argparse.ArgumentParser(add_help=False)
    command = PROGRAMS[name].command(words[0] if words else PROGRAMS[name].default or "")
    if command is not None:
        import_module(command.module).add_arguments(parser)
    assert [action.dest for action in parser._actions if action.type is Path] == []


@pytest.mark.parametrize("name", WITH_SUBCOMMANDS)
def test_mistyped_subcommand_names_the_right_one(name: str) -> None:
    for command in PROGRAMS[name].commands:
        if command.hidden:
            continue
        mistyped = f"{command.name[:-2]}{command.name[-1]}{command.name[-2]}x"
        done = run(name, mistyped)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert f"did you mean {command.name}?" in done.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_closed_or_full_stdout_ends_without_a_traceback(name: str) -> None:
    for command in ("--help | head -1", "--help >&-", "--help >/dev/full", "--version >&-", "--version >/dev/full"):
        done = shell(f"{script(name)} {command}")
        assert "Traceback" not in done.stderr, command
        assert "Exception ignored" not in done.stderr, command
        assert len(done.stderr.splitlines()) <= 1, command
    assert shell(f"{script(name)} --help | head -1; exit ${{PIPESTATUS[0]}}").returncode == 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_closed_or_failing_streams_change_no_exit_status(name: str) -> None:
    """All closed, each closed, each on a full disk: the status is 0 or 2 as without, and no stream has a traceback."""
    for arguments, status in (("--version", 0), ("--not-an-option", 2)):
        for streams in ("0<&- 1>&- 2>&-", "2>&-", "2>/dev/full", "1>&- 2>/dev/full", "0<&-"):
            done = shell(f"{script(name)} {arguments} {streams}")
            assert done.returncode == status, (arguments, streams, done)
            assert "Traceback" not in done.stderr + done.stdout
            assert "Exception ignored" not in done.stderr
            assert len(done.stdout.splitlines()) == (status == 0 and "1>&-" not in streams)
