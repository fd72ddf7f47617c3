"""How the C library keeps freed memory. Importable without torch."""

import ctypes

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 1 << 30


def keep_freed_memory() -> None:
    """Let this process keep freed blocks of up to 1 GiB for the next of their size; glibc alone is told.

    Otherwise every large array is given back to the system, and its successor's pages are fetched and cleared anew:
    6 % of a training step with feedback, and as long as the filtering in a conversion. See mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
