"""The command-line framework of all commands, tested with an invented program."""

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from firmware_bridge.cli.program import Command, Parser, Program, run_program
from firmware_bridge.errors import ConfigError
from tests.helpers.paths import ROOT

PROGRAM = Program(
    "toy",
    "A toy.",
    (
        Command("play", "play a file", "toy_play", positional=True),
        Command("stop", "stop", "toy_stop"),
        Command("halt", "the deprecated name of stop", "toy_stop", hidden=True),
    ),
    default="play",
)
NO_DEFAULT = Program("toy", "A toy.", PROGRAM.commands)


def module(name: str, run: Callable[[Namespace], int | None], *arguments: tuple[str, dict[str, object]]) -> ModuleType:
    def add_arguments(parser: ArgumentParser) -> None:
        for flag, options in arguments:
            parser.add_argument(flag, **options)  # type: ignore[arg-type]

    made = ModuleType(name)
    made.add_arguments, made.run = add_arguments, run  # type: ignore[attr-defined]
    return made


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The log of the commands. `play` raises the fault that its file is named after."""
    ran: list[str] = []
    faults: dict[str, BaseException] = {
        "ctrl-c": KeyboardInterrupt(),
        "fault": ConfigError("no such song: name another"),
        "no-onnx": ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript"),
        "bug": ZeroDivisionError(),
    }

    def play(options: Namespace) -> int:
        ran.append(f"play {options.file} {options.speed}")
        if options.file in faults:
            raise faults[options.file]
        return 3 if options.file == "three" else 0

    speeds: dict[str, object] = {"choices": ["slow", "fast"], "default": "slow"}
    monkeypatch.setitem(
        sys.modules, "toy_play", module("toy_play", play, ("file", {"nargs": "?"}), ("--speed", speeds))
    )
    monkeypatch.setitem(sys.modules, "toy_stop", module("toy_stop", lambda _: ran.append("stop"), ("--now", {})))
    return ran


def test_default_command_runs_without_its_name(ran: list[str]) -> None:
    assert run_program(PROGRAM, ["a.wav", "--speed", "fast"]) == 0
    assert run_program(PROGRAM, []) == 0
    assert run_program(PROGRAM, ["--speed=fast"]) == 0
    assert run_program(PROGRAM, ["play", "b.wav"]) == 0
    assert ran == ["play a.wav fast", "play None slow", "play None fast", "play b.wav slow"]


def test_status_is_what_the_command_returns(ran: list[str]) -> None:
    assert run_program(PROGRAM, ["three"]) == 3
    assert run_program(PROGRAM, ["stop"]) == 0
    assert run_program(PROGRAM, ["halt"]) == 0
    assert ran[1:] == ["stop", "stop"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fault"], "toy: no such song: name another\n"),
        (["sotp"], "toy: 'sotp' is neither a file nor a command; did you mean stop?\n"),
    ],
)
def test_fault_is_one_sentence_and_status_2(
    ran: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert run_program(PROGRAM, arguments) == 2
    assert capsys.readouterr() == ("", sentence)


@pytest.mark.parametrize(
    ("program", "arguments", "words"),
    [
        (PROGRAM, ["--spede", "fast"], ("toy: unrecognized arguments: --spede", "did you mean --speed?")),
        (PROGRAM, ["stop", "--nwo", "1"], ("toy: unrecognized arguments: --nwo 1", "did you mean --now?")),
        (PROGRAM, ["--speed", "fats"], ("unknown value 'fats': choose one of slow, fast", "did you mean fast?")),
        (NO_DEFAULT, [], ("toy: the following arguments are required: COMMAND",)),
    ],
)
def test_wrong_argument_is_one_sentence_with_the_nearest_name(
    ran: list[str], capsys: pytest.CaptureFixture[str], program: Program, arguments: list[str], words: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_program(program, arguments)
    assert ended.value.code == 2
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1
    assert all(word in stderr for word in words), stderr
    assert ran == []


def test_unknown_command_names_the_nearest(ran: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program(NO_DEFAULT, ["plya"]) == 2
    assert capsys.readouterr().err == "toy: unknown command 'plya': choose one of play, stop; did you mean play?\n"


def test_missing_package_is_one_sentence(
    ran: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware_bridge.dependencies.PathFinder.find_spec", lambda _: None)
    assert run_program(PROGRAM, ["no-onnx"]) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("toy: onnxscript is not installed: run `pip install")
    assert stderr.count("\n") == 1


def test_ctrl_c_gives_130_and_a_bug_gives_a_traceback(ran: list[str]) -> None:
    assert run_program(PROGRAM, ["ctrl-c"]) == 130
    with pytest.raises(ZeroDivisionError):
        run_program(PROGRAM, ["bug"])


def test_help_lists_commands_and_the_options_of_the_default(ran: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_program(PROGRAM, ["--help"])
    text = capsys.readouterr().out
    for word in ("--speed", "play a file (the default)", "stop", "--version"):
        assert word in text
    assert "halt" not in text


@pytest.mark.parametrize("arguments", [["--version"], ["stop", "--version"], ["play", "--version"]])
def test_version_is_an_option_of_every_command(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """The modules of the toy's commands do not exist here, so an import of one would fail."""
    assert run_program(PROGRAM, arguments) == 0
    assert capsys.readouterr().out.startswith("ekd ")


def test_version_is_printed_after_other_options_too(ran: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_program(PROGRAM, ["--speed", "fast", "--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("ekd ")
    assert ran == []


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_contains_all_commands(ran: list[str], capsys: pytest.CaptureFixture[str], shell: str) -> None:
    pytest.importorskip("shtab", reason="the completion extra is not installed")
    assert run_program(PROGRAM, ["--print-completion", shell]) == 0
    text = capsys.readouterr().out
    for word in ("--speed", "--now", "stop"):
        assert word in text


SCRIPT = """
import sys, types
from firmware_bridge.cli.program import Command, Program, run_program
module = types.ModuleType("writes")
module.add_arguments = lambda parser: None
module.run = lambda options: [print("a line of text") for _ in range(100_000)] and None
sys.modules["writes"] = module
sys.exit(run_program(Program("toy", "A toy.", (Command("write", "write", "writes"),), "write"), []))
"""


def toy(redirection: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "toy.py"
    script.write_text(SCRIPT)
    shell = f"set -o pipefail; '{sys.executable}' '{script}' {redirection}"
    return subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, timeout=300, cwd=ROOT)


@pytest.mark.parametrize(
    ("redirection", "status", "stderr"),
    [
        ("| head -1", 0, ""),
        (">&-", 0, ""),
        ("2>&- >/dev/null", 0, ""),
        ("<&- >/dev/null", 0, ""),
        (
            ">/dev/full",
            2,
            "toy: cannot write to stdout: No space left on device; free some space, or write elsewhere\n",
        ),
        (">/dev/full 2>/dev/full", 2, ""),
    ],
)
def test_closed_or_full_stream_gives_its_status(redirection: str, status: int, stderr: str, tmp_path: Path) -> None:
    done = toy(redirection, tmp_path)
    assert (done.returncode, done.stderr) == (status, stderr)


def test_parser_does_not_accept_abbreviations() -> None:
    parser = Parser(prog="toy")
    parser.add_argument("--speed")
    with pytest.raises(SystemExit):
        parser.parse_args(["--spe", "1"])
