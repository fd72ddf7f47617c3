"""`--record DIR`: samples, predictions and messages are written to disk by a worker."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ekd_edge.errors import EkdError, PortError
from ekd_edge.prediction import Prediction
from ekd_edge.recording.files import FileName, OpenFile, file_name, folder_lock, in_order, make_folder
from ekd_edge.recording.format import Encoder, Mark
from ekd_edge.recording.retention import Retention, file_limit, make_room
from ekd_edge.signal.blocks import SampleBlock, continues, joined
from ekd_edge.sinks.jsonl import to_line
from firmware_bridge.printable import printable

__all__ = ["SYNC_S", "Recorder"]


@dataclass(frozen=True, slots=True)
class _Facts:
    """Facts about the run that the heads of the following files state in place of earlier ones."""

    facts: Mapping[str, Any]


Item = SampleBlock | Mark | Prediction | _Facts

SYNC_S: Final = 0.9
"""Just below the second at which the worker is woken."""
_RETRY_S: Final = 5.0
_MAX_ITEMS: Final = 1 << 16
_MAX_SAMPLES: Final = 1 << 20
"""Upper limits of what waits for a slow disk; beyond one of them, the oldest items are dropped and counted."""


class Recorder:
    """A sink whose disk work is a job of a `Worker` of ekd_edge.service: a slow or full disk never delays sampling.

    `observe`, `write` and `mark` put items in a bounded queue and return at once, in any thread; `run` and `finish` are
    called by the worker. Items that cannot be written are lost and counted, and the user is notified once; recording
    resumes as soon as writing succeeds.

    Args:
        folder: of the recordings; created if it is missing.
        about: JSON-ready facts about the run, for the head of each file: "run" is its id, "port" the sensor's.
        notify: called with a message when recording fails, when it resumes and when a recording is removed.
        retention: of files; None for the defaults.
        sync_s: seconds between two synchronizations of the file with the disk, at least; more where many recorders
            share a slow disk.

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
        sync_s: float = SYNC_S,
    ) -> None:
        self._sync_s = sync_s
        self._folder, self._about, self._notify = folder, about, notify
        self._retention = retention or Retention()
        self.name = f"recording of {printable(str(about['port']))}" if "port" in about else f"recording in {folder}"
        try:
            make_folder(folder)
        except OSError as error:
            raise PortError(f"cannot create the folder {folder}: {error.strerror}; check --record") from error
        self._items: deque[Item] = deque()
        self._waiting_samples = 0
        self._lock = threading.Lock()
        self._encoder = Encoder()
        self._file: OpenFile | None = None
        self._path: Path | None = None
        self._next: FileName | None = None
        self._day = ""
        self._file_bytes = self._retention.file_bytes
        self._is_restated = False
        self._synced_s = self._retry_s = 0.0
        self._failing: str | None = None
        self.recorded_samples = 0
        self.lost_samples = 0
        self.lost_predictions = 0
        self.removed_files = 0
        self._unmarked_loss = self._marked_loss = 0
        self._refused: list[Item] = []
        self._news: list[str] = []

    def observe(self, block: SampleBlock) -> None:
        """Record a block."""
        self._put(block)

    def write(self, prediction: Prediction) -> None:
        """Record a prediction."""
        self._put(prediction)

    def mark(self, text: str) -> None:
        """Record a message to the user."""
        self._put(Mark(time.time(), text))

    def restate(self, facts: Mapping[str, Any]) -> None:
        """Begin a new file, whose head states these facts about the run, such as "model", in place of earlier ones."""
        self._put(_Facts(facts))

    def describe(self) -> dict[str, Any]:
        """The state of recording, for a status file. failing: the present error, or None."""
        path = self._path
        return {
            "file": None if path is None else str(path),
            "recorded": self.recorded_samples,
            "lost": self.lost_samples,
            "lost_predictions": self.lost_predictions,
            "removed_files": self.removed_files,
            "failing": self._failing,
        }

    def run(self) -> None:
        """Append what waits and synchronize the file with the disk where that is due.

        After an OSError nothing is written for five seconds. Any other exception is raised, and the items are lost.
        """
        items = self._taken()
        if time.monotonic() < self._retry_s:
            self._lose(items)
            return
        self._write_files(items)
        if self._file is not None and time.monotonic() - self._synced_s >= self._sync_s:
            try:
                self._file.sync()
            except OSError as error:
                self._pause(error)
            self._synced_s = time.monotonic()

    def finish(self) -> None:
        """Write what waits and close the file."""
        self._write_files(self._taken())
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:
                self._fail(error)

    def _put(self, item: Item) -> None:
        with self._lock:
            self._items.append(item)
            self._waiting_samples += _samples_of(item)
            while len(self._items) > _MAX_ITEMS or (self._waiting_samples > _MAX_SAMPLES and len(self._items) > 1):
                oldest = self._items.popleft()
                self._waiting_samples -= _samples_of(oldest)
                self._count_lost([oldest])

    def _taken(self) -> list[Item]:
        with self._lock:
            items, self._items = list(self._items), deque()
            self._waiting_samples = 0
        return items

    def _lose(self, items: Sequence[Item]) -> None:
        with self._lock:
            self._count_lost(items)

    def _count_lost(self, items: Sequence[Item]) -> None:
        samples = sum(map(_samples_of, items))
        for item in items:
            if isinstance(item, _Facts):
                self._use_facts(item)
        self.lost_samples += samples
        self._unmarked_loss += samples
        self.lost_predictions += sum(isinstance(item, Prediction) for item in items)

    def _use_facts(self, item: _Facts) -> None:
        self._about, self._is_restated = {**self._about, **item.facts}, True

    def _write_files(self, items: list[Item]) -> None:
        """Write the items; facts among them begin another file."""
        begin = 0
        for end, item in enumerate(items):
            if isinstance(item, _Facts):
                self._write_all(items[begin:end])
                self._use_facts(item)
                begin = end + 1
        self._write_all(items[begin:])

    def _write_all(self, items: list[Item]) -> None:
        if not items:
            return
        self._refused = []
        try:
            beginning = self._begin_file()
            assert self._file is not None
            self._file.append(beginning + b"".join(map(self._encoded, _gathered(items))))
        except OSError as error:
            self._lose(items)
            self._pause(error)
            return
        except Exception:
            self._lose(items)
            self._abandon_file()
            raise
        samples = sum(map(_samples_of, items))
        self._file.samples += samples
        self._path = self._file.path
        self._news.clear()
        self._lose(self._refused)
        with self._lock:
            self._unmarked_loss -= self._marked_loss
            self.recorded_samples += samples
        self._marked_loss = 0
        if self._failing is not None:
            self._failing = None
            self._say(f"recording resumes in {self._path}")

    def _encoded(self, item: Item) -> bytes:
        if isinstance(item, SampleBlock):
            return self._encoder.block(item)
        if isinstance(item, Mark):
            return self._encoder.mark(item)
        assert isinstance(item, Prediction)
        try:
            return self._encoder.prediction(to_line(item))
        except (EkdError, ValueError):  # such as a probability that is not finite
            self._refused.append(item)
            return b""

    def _begin_file(self) -> bytes:
        """The first bytes of a new file where one is due, else none."""
        self._marked_loss = 0
        day = time.strftime("%Y%m%d", time.gmtime())
        if self._file is not None and self._file.is_deleted:
            self._give_up_deleted(self._file)
        full = self._file is not None and self._file.size >= self._file_bytes
        if self._file is not None and (full or day != self._day or self._is_restated):
            file, self._file = self._file, None
            file.close()
        if self._file is not None:
            return b""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._is_restated = False
        self._file, self._day = self._created(stamp), day
        messages = list(self._news)
        if lost := self._unmarked_loss:
            self._marked_loss = lost
            messages.append(f"{lost} samples before this could not be recorded")
        place = {"run_number": self._file.name.run, "file_number": self._file.name.number, "started": stamp}
        head = self._encoder.begin({**self._about, **place})
        return head + b"".join(self._encoder.mark(Mark(time.time(), message)) for message in messages)

    def _created(self, stamp: str) -> OpenFile:
        """A new file, after the oldest ones were removed where the disk is too full."""
        make_folder(self._folder)
        removed: list[Path] = []
        try:
            with folder_lock(self._folder):
                if self._next is None:
                    names = filter(None, map(file_name, in_order(self._folder)))
                    self._next = FileName(1 + max((name.run for name in names), default=0), 1)
                removed += make_room(self._folder, self._retention, self._next.run)
                self._file_bytes = file_limit(self._folder, self._retention)
                file = OpenFile(self._folder, self._next, stamp)
        finally:
            self.removed_files += len(removed)
            for path in removed:
                self._announce(f"the recording {path} was removed, because its disk is too full (--record-free)")
        self._next = FileName(file.name.run, file.name.number + 1)
        return file

    def _give_up_deleted(self, file: OpenFile) -> None:
        with self._lock:
            self.recorded_samples -= file.samples
            self.lost_samples += file.samples
            self._unmarked_loss += file.samples
        self._abandon_file()
        self._announce(f"the recording {file.path} was deleted while it was written; another one is started")

    def _announce(self, message: str) -> None:
        """Notify the user, and mark the message in the next file."""
        self._news.append(message)
        self._say(message)

    def _pause(self, error: OSError) -> None:
        """Pause recording; the next attempt starts a new file, because the last write may be incomplete."""
        self._retry_s = time.monotonic() + _RETRY_S
        self._abandon_file()
        self._fail(error)

    def _abandon_file(self) -> None:
        if self._file is not None:
            self._file.abandon()
            self._file = None

    def _fail(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        if reason != self._failing:
            self._failing = reason
            self._say(f"recording to {self._folder} fails: {reason}; prediction continues and lost samples are counted")

    def _say(self, message: str) -> None:
        try:
            self._notify(message)
        except Exception:  # noqa: BLE001  a closed stderr must not end recording; the state is in the status file
            return


def _gathered(items: Sequence[Item]) -> Iterator[Item]:
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


def _samples_of(item: Item) -> int:
    return item.values.shape[-1] if isinstance(item, SampleBlock) else 0
