"""The user's home folder, which a service or a container may lack."""

from pathlib import Path

from firmware_bridge.errors import ConfigError

__all__ = ["expand_user", "home_folder"]


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
