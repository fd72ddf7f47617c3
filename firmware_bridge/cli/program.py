"""The command-line framework of all ekd commands: subcommands, suggestions, `--version`, shell completion, exit status.

A command-line program is described by a `Program`, which lists its subcommands. Each subcommand is a module with
`add_arguments(parser)` and `run(options)`. The module is imported only when its subcommand is chosen, so that
`ekd-edge doctor` starts on machines where numpy cannot be loaded.

The exit status is the return value of `run` (None is 0). It is 2 for an EkdError, a missing package or a wrong
argument, with one sentence on stderr. It is 130 on Ctrl-C, 143 on SIGTERM, 129 on SIGHUP, and 0 if the reader of stdout
closes the pipe. A closed or failing stderr changes none of it.
"""

import argparse
import errno
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from firmware_bridge.cli.signals import raised_signals
from firmware_bridge.cli.streams import discard, standard_streams
from firmware_bridge.dependencies import explain_import_error, version_line
from firmware_bridge.errors import EkdError, cannot_write
from firmware_bridge.printable import printable
from firmware_bridge.suggestions import closest, did_you_mean

__all__ = ["Command", "Parser", "Program", "build_parser", "run_program"]

_COMPLETION = "--print-completion"
_WRITE_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""Errors of writing to stdout or stderr; an OSError of a named file has a file name and is not handled here."""


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand.

    name: name on the command line. summary: one line for `--help`. module: dotted name of the module that implements it
    with `add_arguments(parser)` and `run(options) -> int | None`. positional: whether its first argument may be
    positional, which is used for the default command only. hidden: whether the help omits it (a deprecated name).
    """

    name: str
    summary: str
    module: str
    positional: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """A console script.

    name: name of the script. description: text for `--help`. commands: its subcommands. default: name of the subcommand
    that runs if the user names none; None if the user must name one. path_option: the option of the default command
    that takes a path or a URL, which is named where one is given in place of a subcommand.
    """

    name: str
    description: str
    commands: tuple[Command, ...]
    default: str | None = None
    path_option: str | None = None

    def command(self, name: str) -> Command | None:
        """The subcommand with this name, or None."""
        return next((each for each in self.commands if each.name == name), None)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that prints errors as one sentence with a suggestion for a misspelled name."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **options)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments. Unknown arguments exit with status 2 and one sentence that names them."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [name for action in self._all_actions(args) for name in action.option_strings]
            first = unknown[0].partition("=")[0]
            self.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(first, known)}")
        return options

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and print the message as one sentence."""
        self.exit(2, f"{self.prog}: {printable(message)} (see {self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            what = "command" if isinstance(action, argparse._SubParsersAction) else "value"
            hint = did_you_mean(str(value), choices)
            raise argparse.ArgumentError(
                action,
                f"unknown {what} {value!r}: choose one of {', '.join(choices)}{hint}",
            )

    def _all_actions(self, args: Sequence[str] | None) -> Iterable[argparse.Action]:
        yield from self._actions
        chosen = set(args or ())
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, parser in action.choices.items():
                    if name in chosen:
                        yield from parser._all_actions(args)


class _Version(argparse.Action):
    """The option `--version`, which reads the versions only when it is given."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print the version and exit."""
        print(version_line())
        parser.exit()


def run_program(program: Program, argv: Sequence[str] | None = None) -> int:
    """Parse the arguments, run the chosen command and return its exit status; see the module's docstring.

    Args:
        program: the program and its subcommands.
        argv: arguments without the program's name; None for the arguments of this process.

    Returns:
        The exit status.

    Raises:
        SystemExit: the arguments are wrong, or include `--help` or `--version`, as in argparse.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with standard_streams() as streams, raised_signals() as ended:
        status = _run(program, arguments)
        status = status if ended.status is None else ended.status
        if streams.are_abandoned and argv is None:
            streams.flush()
            os._exit(status)
        return status


def _run(program: Program, arguments: Sequence[str]) -> int:
    prog = program.name
    try:
        if _asks_for_version(program, arguments):
            print(version_line(), flush=True)
            return 0
        if arguments and arguments[0].partition("=")[0] == _COMPLETION:
            return _print_completion(program, arguments)
        chosen = _choose(program, arguments)
        prog = program.name if chosen is None or chosen.name == program.default else f"{program.name} {chosen.name}"
        named = chosen is not None and bool(arguments) and arguments[0] == chosen.name
        parser = build_parser(program, chosen if named else None, for_help=_wants_help(arguments))
        options = parser.parse_args(arguments)
        assert chosen is not None  # argparse has ended the program otherwise
        status = import_module(chosen.module).run(options)
        sys.stdout.flush()
        return int(status or 0)
    except EkdError as error:
        return _fail(prog, str(error))
    except ImportError as error:
        explained = explain_import_error(error)
        if explained is None:
            raise
        return _fail(prog, explained)
    except BrokenPipeError:
        discard(sys.stdout)
        return 0
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if (sentence := _file_fault(error)) is not None:
            return _fail(prog, sentence)
        if error.errno not in _WRITE_FAULTS:
            raise
        discard(sys.stdout)
        return _fail(prog, cannot_write("to stdout", error))


def build_parser(program: Program, chosen: Command | None, *, for_help: bool = False, complete: bool = False) -> Parser:
    """Build the program's parser.

    Args:
        program: the program and its subcommands.
        chosen: the subcommand that the arguments name; None for the default command.
        for_help: whether to list the subcommands and the options of the default command.
        complete: whether to add the options of every subcommand, for shell completion.

    Returns:
        A parser with the options of the chosen command, or of all commands if `complete` is True.
    """
    parser = Parser(prog=program.name, description=program.description)
    parser.add_argument("--version", action=_Version)
    default = program.command(program.default) if program.default is not None else None
    if chosen is None and default is not None:
        if complete or for_help:
            _add_if_it_loads(default, parser)
        else:
            import_module(default.module).add_arguments(parser)
            return parser
    metavar = "[COMMAND]" if default is not None else "COMMAND"
    commands = parser.add_subparsers(
        title="commands", metavar=metavar, dest="_command", required=default is None, parser_class=Parser
    )
    for command in program.commands:
        if command.hidden and command is not chosen:
            continue
        summary = f"{command.summary} (the default)" if command is default else command.summary
        options: dict[str, Any] = {} if command.hidden else {"help": summary}
        sub = commands.add_parser(command.name, description=f"{_sentence(command.summary)}", **options)
        sub.add_argument("--version", action=_Version)
        if command is chosen:
            import_module(command.module).add_arguments(sub)
        elif complete:
            _add_if_it_loads(command, sub)
    return parser


def _choose(program: Program, arguments: Sequence[str]) -> Command | None:
    """The command that the arguments name, or the default command.

    Raises EkdError with a suggestion if the first argument is not a command.
    """
    default = program.command(program.default) if program.default is not None else None
    if not arguments or arguments[0].startswith("-"):
        return default
    word = arguments[0]
    if (found := program.command(word)) is not None:
        return found
    names = [command.name for command in program.commands if not command.hidden]
    if default is not None and default.positional:
        near = closest(word, names)
        if near is None or os.sep in word or Path(word).exists():
            return default
        raise EkdError(f"{word!r} is neither a file nor a command; did you mean {near}?")
    if program.path_option is not None and (os.sep in word or Path(word).exists()):
        raise EkdError(f"{word!r} is not a command: write {program.name} {program.path_option} {word}")
    raise EkdError(f"unknown command {word!r}: choose one of {', '.join(names)}{did_you_mean(word, names)}")


def _asks_for_version(program: Program, arguments: Sequence[str]) -> bool:
    """Whether `--version` is all that is asked, of the program or a command, whose module then is not imported."""
    *before, last = arguments or [""]
    return last == "--version" and (not before or (len(before) == 1 and program.command(before[0]) is not None))


def _wants_help(arguments: Sequence[str]) -> bool:
    return bool(arguments) and arguments[0] in ("-h", "--help")


def _sentence(summary: str) -> str:
    return f"{summary[:1].upper()}{summary[1:]}{'' if summary.endswith('.') else '.'}"


def _add_if_it_loads(command: Command, parser: Parser) -> None:
    try:
        import_module(command.module).add_arguments(parser)
    except ImportError as error:
        parser.epilog = f"{command.name}: {explain_import_error(error) or error}"


def _print_completion(program: Program, arguments: Sequence[str]) -> int:
    import shtab

    shell = arguments[0].partition("=")[2] or (arguments[1] if len(arguments) > 1 else "")
    if shell not in shtab.SUPPORTED_SHELLS:
        raise EkdError(f"{_COMPLETION} needs a shell: {', '.join(shtab.SUPPORTED_SHELLS)}")
    print(shtab.complete(build_parser(program, None, complete=True), shell))
    return 0


def _file_fault(error: OSError) -> str | None:
    """The sentence for a file or folder that cannot be used; None for an error of another kind."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return "the current folder was deleted: change to another one"
    if error.filename is None:
        return None
    return f"cannot use {error.filename}: {error.strerror}; check its name, its permissions and its disk"


def _fail(prog: str, sentence: str) -> int:
    print(f"{prog}: {printable(sentence)}", file=sys.stderr, flush=True)
    return 2
