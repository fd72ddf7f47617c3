"""The errors of ekd, importable from where they are mostly met; see `firmware_bridge.errors` for the tree."""

from firmware_bridge.errors import (
    ArtefactError,
    ConfigError,
    DataError,
    EkdError,
    ExportError,
    FormatError,
    PortError,
    SignalError,
)

__all__ = [
    "ArtefactError",
    "ConfigError",
    "DataError",
    "EkdError",
    "ExportError",
    "FormatError",
    "PortError",
    "SignalError",
]
