"""The standard streams of a command: closed or failing ones do not end it, and any text can be printed."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

__all__ = ["abandon", "discard", "standard_streams"]


class LossyStream:
    """A text stream whose writes never fail: text that cannot be written is dropped.

    Messages on stderr are for a reader who may have gone: a closed terminal or a full disk must not end the command or
    one of its threads.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write the lines, or drop them."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush what was written, as far as possible."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        try:
            return self._stream.isatty()
        except (OSError, ValueError):
            return False


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of a command. stdout, stderr: as they are at the start."""

    stdout: TextIO
    stderr: TextIO

    @property
    def are_abandoned(self) -> bool:
        """Whether one of them was abandoned: a thread may wait for it, and Python's exit would wait for the thread."""
        return sys.stdout is not self.stdout or sys.stderr is not self.stderr

    def flush(self) -> None:
        """Flush those that are not abandoned, as far as possible."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()


@contextlib.contextmanager
def standard_streams() -> Iterator[Streams]:
    """Make the standard streams usable inside the `with` block.

    A stream that the caller closed becomes /dev/null, so that no other file gets its descriptor. Writing to stderr
    never fails. Characters that stdout's encoding lacks, and bytes of file names that are no text, become escapes.
    """
    _open_closed_streams()
    stderr, stdout = sys.stderr, sys.stdout
    errors = getattr(stdout, "errors", None)
    reconfigure = getattr(stdout, "reconfigure", None)
    if errors == "strict" and reconfigure is not None:
        reconfigure(errors="backslashreplace")
    sys.stderr = cast(TextIO, LossyStream(stderr))
    streams = Streams(stdout, sys.stderr)
    try:
        yield streams
    finally:
        sys.stdout, sys.stderr = stdout, stderr
        _settle(stderr)
        if errors == "strict" and reconfigure is not None and not stdout.closed:
            with contextlib.suppress(OSError):
                reconfigure(errors=errors)


def abandon(name: str) -> None:
    """Print to /dev/null in place of a stream that is blocked, such as a pipe that is never read.

    name: "stdout" or "stderr". The process ends without waiting for threads that write to it.
    """
    setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  it stays open until the process ends


def discard(stream: TextIO) -> None:
    """Redirect a stream that can no longer be written to /dev/null, so that Python's flush at exit does not fail."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        if nowhere != descriptor:
            os.close(nowhere)


def _settle(stream: TextIO) -> None:
    """Flush a stream that may have failed; drop what it cannot write."""
    try:
        stream.flush()
    except (OSError, ValueError):
        discard(stream)


def _open_closed_streams() -> None:
    """Open /dev/null for each standard stream that the caller closed, so that no other file gets its descriptor."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if descriptor == 0 else os.O_WRONLY)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "r" if descriptor == 0 else "w", closefd=False))  # noqa: SIM115
