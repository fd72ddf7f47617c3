"""All errors that ekd raises for foreseeable faults.

    EkdError             base class: `except EkdError` catches all of them and no other exception
     ├─ PortError        a serial port is missing, busy, not permitted or disconnected
     ├─ FormatError      bytes are not in the expected format (wrong baud rate, another device)
     ├─ SignalError      samples cannot be processed (rate, unit, NaN, another SignalSpec)
     ├─ ModelFileError   a model file is truncated, altered, too new or not a model file
     ├─ DataError        a dataset or recording is empty, malformed or has only one class
     ├─ ConfigError      a preset, run folder or option is invalid
     └─ ExportError      a model cannot be converted, quantized or signed off

Each message is one sentence with a remedy. Commands print it on stderr and exit with status 2.
"""

import errno

__all__ = [
    "ConfigError",
    "DataError",
    "EkdError",
    "ExportError",
    "FormatError",
    "ModelFileError",
    "PortError",
    "SignalError",
    "cannot_write",
]

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def cannot_write(what: str, error: OSError) -> str:
    """The sentence for a file or stream that cannot be written, with a remedy that fits the cause."""
    remedy = "free some space, or write elsewhere" if error.errno in _NO_SPACE else "write elsewhere"
    return f"cannot write {what}: {error.strerror}; {remedy}"


class EkdError(Exception):
    """Base class of all errors that ekd raises for foreseeable faults."""


class PortError(EkdError):
    """A serial port is missing, busy, not permitted or disconnected."""


class FormatError(EkdError):
    """Bytes are not in the expected format."""


class SignalError(EkdError):
    """Samples cannot be processed."""


class ModelFileError(EkdError):
    """A model file cannot be read or is not trusted."""


class DataError(EkdError):
    """A dataset or recording cannot be used."""


class ConfigError(EkdError):
    """A preset, run folder or option is invalid."""


class ExportError(EkdError):
    """A model cannot be converted, quantized or signed off."""
