"""The user's home folder, which a service or a container may lack."""

import os
from pathlib import Path

from firmware_bridge.errors import ConfigError

__all__ = ["expand_user", "expanded", "home_folder"]


def home_folder() -> Path:
    """The user's home folder. Raises ConfigError where there is none."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise ConfigError("this user has no home folder: set HOME to a folder that it may write to") from error


def expand_user(path: Path) -> Path:
    """The path with `~` and `~USER` replaced by home folders. Raises ConfigError where there is none."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{path} names a home folder that does not exist: write the whole path") from error


def expanded(text: str) -> str:
    """A path with `~` and `~USER` at its start replaced, which shells leave in texts such as `--output=~/run`.

    A file that has the name as it is written is found first. Raises ConfigError as `expand_user`.
    """
    if not text.startswith("~") or os.path.lexists(text):
        return text
    return str(expand_user(Path(text)))
