"""The exit status of a command in this process, returned or raised."""

from collections.abc import Callable, Sequence

__all__ = ["exit_status"]


def exit_status(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """The exit status of the process; argparse raises SystemExit for wrong arguments."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
