"""Write the reference pages that are made from the code: commands.md, configuration.md and methods.md.

    python docs/generate_reference.py

tests/docs/test_reference.py fails where a page is not current.
"""

import argparse
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from ekd_train.config import TrainConfig
from ekd_train.methods import METHODS
from ekd_train.settings.field import settings_of_class
from firmware_bridge.cli.program import Command, Program

FOLDER = Path(__file__).parent / "reference"

PROGRAMS = (
    "ekd_edge.cli.main",
    "ekd_train.cli.main",
    "ekd_export.cli.main",
    "ekd_export.cli.evaluate",
    "firmware_bridge.cli.main",
    "ekd_edge.cli.recording.main",
)

NOTE = "<!-- Made by docs/generate_reference.py; do not edit. -->\n"


def main() -> None:
    """Write all pages."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Each page's file name and text."""
    return {"commands.md": _commands(), "configuration.md": _configuration(), "methods.md": _methods()}


def _commands() -> str:
    parts = [
        f"# Commands\n\n{NOTE}",
        "Every command has `--help`, `--version` and [`--print-completion SHELL`](../how-to/shell-completion.md); "
        "[Exit status](exit-status.md) lists what each returns.\n",
    ]
    for module in PROGRAMS:
        program: Program = import_module(module).PROGRAM
        parts += [f"## {program.name}\n", f"{program.description}\n"]
        for command in program.commands:
            if command.hidden and command.name != program.default:
                continue
            parts += _command(program, command)
    return "\n".join(parts)


def _command(program: Program, command: Command) -> Iterator[str]:
    parser = argparse.ArgumentParser(add_help=False)
    import_module(command.module).add_arguments(parser)
    only = len([each for each in program.commands if not each.hidden]) <= 1
    if not only:
        default = ", the default" if command.name == program.default else ""
        yield f"### {program.name} {command.name}\n"
        yield f"{_sentence(command.summary)[:-1]}{default}.\n"
    yield "| argument | |\n| --- | --- |"
    for action in parser._actions:
        if action.help != argparse.SUPPRESS:
            yield f"| `{_cell(_spelling(action))}` | {_help(parser, action)} |"
    if parser.epilog:
        yield f"\n{_epilog(parser.epilog.strip())}"
    yield ""


def _epilog(text: str) -> str:
    if "\n" not in text:
        return _sentence(_cell(text))
    return "\n".join(["```", text, "```"])


def _spelling(action: argparse.Action) -> str:
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    value = " ".join(value) if isinstance(value, tuple) else value
    if not action.option_strings:
        return {"?": f"[{value}]", "*": f"[{value} ...]", "+": f"{value} [{value} ...]"}.get(str(action.nargs), value)
    names = ", ".join(action.option_strings)
    return names if action.nargs == 0 else f"{names} {value}"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    needed = " (required)" if action.option_strings and action.required else ""
    return _cell(text + needed)


def _configuration() -> str:
    lines = [
        f"# Configuration\n\n{NOTE}",
        "The settings of `ekd-train`, in a preset or TOML file and with `--set KEY=VALUE`. `ekd-train config` "
        "lists them with the values of a preset. The defaults are those of the dataclasses; "
        "[presets](presets.md) change some.\n",
        "| key | type | default | |\n| --- | --- | --- | --- |",
    ]
    for each in settings_of_class(TrainConfig):
        kind = each.kind.replace("|", ", ")
        lines.append(f"| `{each.key}` | {kind} | `{each.default}` | {_cell(each.about)} |")
    return "\n".join(lines) + "\n"


def _methods() -> str:
    lines = [
        f"# Methods\n\n{NOTE}",
        "The methods that `ekd-train sweep --methods NAME,NAME` compares. All share the start weights of their seed, "
        "and those of a cell (one target, seed and fold) share one teacher. [BENCHMARKS.md]"
        "(../../BENCHMARKS.md#what-distillation-and-feedback-bring-bench-gain) has what each brought.\n",
        "| method | in tables | |\n| --- | --- | --- |",
        *(f"| `{each.name}` | {each.title} | {_cell(each.about)} |" for each in METHODS.values()),
    ]
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _cell(text: str) -> str:
    """A text for a cell of a table, the same on every machine."""
    return " ".join(text.replace(str(Path.home()), "~").replace("|", "\\|").split())


if __name__ == "__main__":
    main()
