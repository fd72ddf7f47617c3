"""`--record DIR`: samples, predictions and messages are written to disk within a second."""

import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ekd_edge.errors import PortError
from ekd_edge.prediction import Prediction
from ekd_edge.recording.format import SUFFIX, Encoder, Mark
from ekd_edge.signal.blocks import SampleBlock, continues, joined
from ekd_edge.sinks.jsonl import to_line

__all__ = ["Recorder", "Retention"]

_EVERY_S = 0.25
_SYNC_S = 1.0
_RETRY_S = 5.0
_MAX_ITEMS = 1 << 16
"""Upper limit of items that wait for a slow disk; beyond it, the oldest are dropped and counted."""


@dataclass(frozen=True, slots=True)
class Retention:
    """file_bytes: size at which a new file is started; a new one is also started at the end of a day (UTC).

    free_bytes: the oldest recordings in the folder are removed while less than this is free on its disk.
    """

    file_bytes: int = 64 << 20
    free_bytes: int = 500 << 20


class Recorder:
    """A sink that writes in its own thread, so that a slow or full disk never delays sampling.

    Items are appended four times a second and synchronized to the disk once a second. Items that cannot be written are
    lost and counted, and the user is notified once; recording resumes as soon as writing succeeds.

    Args:
        folder: of the recordings; created if it is missing.
        about: JSON-ready facts about the run, for the head of each file.
        notify: called with a message when recording fails and when it resumes.
        retention: of files; None for the defaults.

    Raises:
        PortError: the folder cannot be created.
    """

    wants_blocks = True

    def __init__(
        self,
        folder: Path,
        about: dict[str, Any],
        notify: Callable[[str], None],
        retention: Retention | None = None,
    ) -> None:
        self._folder, self._about, self._notify = folder, about, notify
        self._retention = retention or Retention()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PortError(f"cannot create the folder {folder}: {error.strerror}; check --record") from error
        self._items: deque[SampleBlock | Mark | str] = deque()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._encoder = Encoder()
        self._file: int | None = None
        self._path: Path | None = None
        self._size, self._day = 0, ""
        self._synced_s = 0.0
        self._retry_s = 0.0
        self._failing: str | None = None
        self._number = 0
        self.recorded_samples = 0
        self.lost_samples = 0
        self._unmarked_loss = 0
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def observe(self, block: SampleBlock) -> None:
        """Record a block."""
        self._put(block)

    def write(self, prediction: Prediction) -> None:
        """Record a prediction."""
        self._put(to_line(prediction))

    def mark(self, text: str) -> None:
        """Record a message to the user."""
        self._put(Mark(time.time(), text))

    def describe(self) -> dict[str, Any]:
        """The state of recording, for a status file. failing: the present error, or None."""
        path = self._path
        return {
            "file": None if path is None else str(path),
            "recorded": self.recorded_samples,
            "lost": self.lost_samples,
            "failing": self._failing,
        }

    def close(self) -> None:
        """Write the remaining items and stop."""
        self._ending.set()
        self._thread.join(10)

    def _put(self, item: SampleBlock | Mark | str) -> None:
        with self._lock:
            if len(self._items) >= _MAX_ITEMS:
                self._lose([self._items.popleft()])
            self._items.append(item)

    def _run(self) -> None:
        while not self._ending.wait(_EVERY_S):
            self._write_waiting()
        self._write_waiting()
        if self._file is not None:
            self._finish_file()

    def _write_waiting(self) -> None:
        with self._lock:
            items, self._items = list(self._items), deque()
        if not items:
            return
        if time.monotonic() < self._retry_s and not self._ending.is_set():
            self._lose(items)
            return
        try:
            self._open_file()
            self._append(b"".join(map(self._encoded, _gathered(items))))
        except OSError as error:
            self._lose(items)
            self._pause(error)
            return
        self.recorded_samples += _samples(items)
        if self._failing is not None:
            self._failing = None
            self._notify(f"recording resumes in {self._path}")

    def _encoded(self, item: SampleBlock | Mark | str) -> bytes:
        if isinstance(item, SampleBlock):
            return self._encoder.block(item)
        return self._encoder.mark(item) if isinstance(item, Mark) else self._encoder.prediction(item)

    def _open_file(self) -> None:
        day = time.strftime("%Y%m%d", time.gmtime())
        if self._file is not None and (self._size >= self._retention.file_bytes or day != self._day):
            self._finish_file()
        if self._file is not None:
            return
        self._make_room()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        while True:
            self._number += 1
            path = self._folder / f"{stamp}-{os.getpid()}-{self._number:04d}{SUFFIX}"
            try:
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
                break
            except FileExistsError:
                continue
        self._path, self._size, self._day = path, 0, day
        head = self._encoder.begin({**self._about, "started": stamp})
        if self._unmarked_loss:
            lost, self._unmarked_loss = self._unmarked_loss, 0
            head += self._encoder.mark(Mark(time.time(), f"{lost} samples before this could not be recorded"))
        self._append(head)

    def _append(self, data: bytes) -> None:
        assert self._file is not None
        left = memoryview(data)
        while left:
            left = left[os.write(self._file, left) :]
        # A partial write is truncated later, so that recorded and lost samples add up exactly.
        self._size += len(data)
        if time.monotonic() - self._synced_s >= _SYNC_S:
            os.fdatasync(self._file)
            self._synced_s = time.monotonic()

    def _finish_file(self) -> None:
        assert self._file is not None
        file, self._file = self._file, None
        try:
            os.fdatasync(file)
        finally:
            os.close(file)

    def _pause(self, error: OSError) -> None:
        """Pause recording; the next attempt starts a new file, because the last write may be torn."""
        self._retry_s = time.monotonic() + _RETRY_S
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            os.close(self._file)
            self._file = None
        reason = error.strerror or str(error)
        if reason != self._failing:
            self._failing = reason
            self._notify(
                f"recording to {self._folder} fails: {reason}; prediction continues and lost samples are counted"
            )

    def _lose(self, items: list[SampleBlock | Mark | str]) -> None:
        lost = _samples(items)
        self.lost_samples += lost
        self._unmarked_loss += lost

    def _make_room(self) -> None:
        """Remove the oldest recordings of this folder while its disk is too full."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            if shutil.disk_usage(self._folder).free >= self._retention.free_bytes:
                return
            path.unlink(missing_ok=True)


def _gathered(items: list[SampleBlock | Mark | str]) -> Iterator[SampleBlock | Mark | str]:
    """The items with consecutive blocks joined: one frame for each block would double the file."""
    held: list[SampleBlock] = []
    for item in items:
        if held and not (isinstance(item, SampleBlock) and continues(item, held[-1])):
            yield joined(held)
            held = []
        if isinstance(item, SampleBlock):
            held.append(item)
        else:
            yield item
    if held:
        yield joined(held)


def _samples(items: list[SampleBlock | Mark | str]) -> int:
    return sum(item.values.shape[-1] for item in items if isinstance(item, SampleBlock))
