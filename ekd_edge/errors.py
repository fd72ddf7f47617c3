"""The errors of ekd, importable from where they are mostly met; see `firmware_bridge.errors` for the tree."""

from firmware_bridge.errors import (
    ConfigError,
    DataError,
    EkdError,
    ExportError,
    FormatError,
    ModelFileError,
    PortError,
    SignalError,
)

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
