"""The errors of ekd under this package's name; `firmware_bridge.errors` defines them and shows their tree."""

from firmware_bridge import errors
from firmware_bridge.errors import *  # noqa: F403  one list of names, in firmware_bridge.errors

__all__ = errors.__all__
