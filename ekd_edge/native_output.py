"""Suppression of output that libraries write to the terminal from Python and from C++."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator

__all__ = ["quiet"]


@contextlib.contextmanager
def quiet(*, stdout: bool = True) -> Iterator[None]:
    """Discard log records, warnings and everything written to stderr (and stdout) until the block ends.

    Exceptions pass. The output of other threads of the process is discarded too.
    """
    before = logging.root.manager.disable
    with contextlib.ExitStack() as stack:
        for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
            if descriptor == 1 and not stdout:
                continue
            if stream is not None:
                stream.flush()
            stack.enter_context(_discarded(descriptor))
        if stdout:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.callback(logging.disable, before)
        logging.disable(logging.CRITICAL)
        yield


@contextlib.contextmanager
def _discarded(descriptor: int) -> Iterator[None]:
    try:
        kept = os.dup(descriptor)
    except OSError:  # the descriptor is closed: there is nothing to silence
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nowhere)
