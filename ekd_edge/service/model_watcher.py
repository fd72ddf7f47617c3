"""Detects that the file of the running model was replaced."""

from collections.abc import Callable
from pathlib import Path

__all__ = ["ModelWatcher"]


class ModelWatcher:
    """Compares the file at the model's path with the one that was loaded.

    The running model stays in memory: a replaced or deleted file does not change its predictions.
    """

    def __init__(self, path: Path, notify: Callable[[str], None]) -> None:
        self._path, self.notify = path, notify
        self._loaded = self._identity()
        self.replaced = False

    def look(self) -> None:
        """Notify once when another file is at the path."""
        if not self.replaced and self._identity() != self._loaded:
            self.replaced = True
            self.notify(f"{self._path} was replaced: send SIGHUP to ekd-edge, or restart it, to run the new one")

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
