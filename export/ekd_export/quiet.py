"""Silence for libraries that write to the terminal from Python and from C++ alike."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator

__all__ = ["quiet"]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop everything written to stdout and stderr, logged or warned about, until the block ends.

    Exceptions pass. The whole process is silenced, other threads included.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    before = logging.root.manager.disable
    with contextlib.ExitStack() as stack:
        for descriptor in (1, 2):
            stack.enter_context(_discarded(descriptor))
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.callback(logging.disable, before)
        logging.disable(logging.CRITICAL)
        yield


@contextlib.contextmanager
def _discarded(descriptor: int) -> Iterator[None]:
    kept = os.dup(descriptor)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)
