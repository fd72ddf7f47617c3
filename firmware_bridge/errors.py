"""Every error of ekd that a user can meet.

    EkdError            the root: `except EkdError` catches all of them and nothing else
     ├─ PortError       a serial port is missing, busy, forbidden or gone
     ├─ FormatError     bytes are not what they were said to be (wrong baud rate, foreign format)
     ├─ SignalError     samples cannot be processed as asked (rate, unit, NaN, another SignalSpec)
     ├─ ModelFileError   a model file is truncated, foreign, newer or altered
     ├─ DataError       a dataset or recording is empty, malformed or has one class only
     ├─ ConfigError     a preset, run folder or option does not fit
     └─ ExportError     a model cannot be converted, quantized or signed off

The message is one sentence that says what to do. Commands print it on stderr and exit 2.
"""

__all__ = [
    "ConfigError",
    "DataError",
    "EkdError",
    "ExportError",
    "FormatError",
    "ModelFileError",
    "PortError",
    "SignalError",
]


class EkdError(Exception):
    """Root of all errors that ekd raises on purpose."""


class PortError(EkdError):
    """A serial port is missing, busy, forbidden or gone."""


class FormatError(EkdError):
    """Bytes are not in the format they were said to be in."""


class SignalError(EkdError):
    """Samples cannot be processed as asked."""


class ModelFileError(EkdError):
    """A model file cannot be trusted or read."""


class DataError(EkdError):
    """A dataset or recording cannot be used."""


class ConfigError(EkdError):
    """A preset, run folder or option does not fit."""


class ExportError(EkdError):
    """A model cannot be converted, quantized or signed off."""
