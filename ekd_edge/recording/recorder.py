"""`--record DIR`: everything that is received and predicted, on disk within a second, whatever else happens."""

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
_MOST_ITEMS = 1 << 16
"""Blocks, marks and predictions that wait for a stuck disk; beyond, the oldest are dropped and counted."""


@dataclass(frozen=True, slots=True)
class Retention:
    """file_bytes: a file that has become so large is followed by a new one, as is each at the end of a day (UTC).

    free_bytes: the oldest recordings in the folder are removed while less is free on its disk.
    """

    file_bytes: int = 64 << 20
    free_bytes: int = 500 << 20


class Recorder:
    """A sink that writes from a thread of its own, so that a slow or full disk never delays sampling.

    Four times a second what has come is appended; once a second it is forced to the disk. What a disk does not take is
    lost, counted, told once and tried again: recording goes on as soon as there is room.

    Raises PortError where the folder cannot be made.
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
            raise PortError(f"cannot make the folder {folder}: {error.strerror}; check --record") from error
        self._items: deque[SampleBlock | Mark | str] = deque()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._encoder = Encoder()
        self._file: int | None = None
        self._path: Path | None = None
        self._size, self._day = 0, ""
        self._synced_s = 0.0
        self._retry_s = 0.0
        self._told: str | None = None
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
        """Record what the user was told."""
        self._put(Mark(time.time(), text))

    def describe(self) -> dict[str, Any]:
        """How recording fares, for a status file. failing: why nothing can be recorded now, or null."""
        path = self._path
        return {
            "file": None if path is None else str(path),
            "recorded": self.recorded_samples,
            "lost": self.lost_samples,
            "failing": self._told,
        }

    def close(self) -> None:
        """Write what is left and end."""
        self._ending.set()
        self._thread.join(10)

    def _put(self, item: SampleBlock | Mark | str) -> None:
        with self._lock:
            if len(self._items) >= _MOST_ITEMS:
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
            self._open_when_due()
            self._append(b"".join(map(self._encoded, _gathered(items))))
        except OSError as error:
            self._lose(items)
            self._give_up(error)
            return
        self.recorded_samples += _samples(items)
        if self._told is not None:
            self._told = None
            self._notify(f"recording goes on in {self._path}")

    def _encoded(self, item: SampleBlock | Mark | str) -> bytes:
        if isinstance(item, SampleBlock):
            return self._encoder.block(item)
        return self._encoder.mark(item) if isinstance(item, Mark) else self._encoder.prediction(item)

    def _open_when_due(self) -> None:
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
        # What a failing write leaves behind is cut off again: recorded and lost samples add up exactly.
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

    def _give_up(self, error: OSError) -> None:
        """For now: the next attempt begins a new file, as what was written may be torn."""
        self._retry_s = time.monotonic() + _RETRY_S
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            os.close(self._file)
            self._file = None
        reason = error.strerror or str(error)
        if reason != self._told:
            self._told = reason
            self._notify(
                f"recording to {self._folder} fails: {reason}; predictions go on, what is not recorded is counted"
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
    """The items with blocks that continue one another joined: a frame a block would double the file."""
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
