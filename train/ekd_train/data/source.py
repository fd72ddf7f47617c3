"""Datasets by name: `synthetic`, `synthetic:hard`, `synthetic?subjects=24&seed=3`, `recordings:FOLDER`,
`deap:FOLDER`, `deap:FOLDER?gsr=relative&baseline=subtract&channels=32`, `hci:FOLDER`, `hci:FOLDER?channels=32`.

Another package adds a dataset with an entry point of the group `ekd.datasets`:

    [project.entry-points."ekd.datasets"]
    mydata = "mypackage.mydata:open_mydata"

The value is a function or class that takes one string and returns a `Dataset`: `--data mydata:ARGUMENT` calls it with
ARGUMENT, the text after the first colon, or with "" where there is none. It raises DataError for a wrong argument.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl

import numpy as np

from ekd_edge.errors import DataError
from ekd_edge.model.manifest import HighRule
from ekd_edge.signal.spec import SignalSpec
from ekd_train.data.band_power import EegFeatures
from ekd_train.data.cache.fingerprint import cache_folder, workers
from ekd_train.data.cache.row_files import RowArray, Rows
from ekd_train.data.cache.store import Converted, entry_key, fetch
from ekd_train.data.datasets.deap import DEAP_OPTIONS, DeapDataset
from ekd_train.data.datasets.hci_tagging import HCI_OPTIONS, HciTaggingDataset
from ekd_train.data.datasets.recordings import RecordingsDataset
from ekd_train.data.datasets.synthetic import SyntheticConfig, SyntheticDataset
from ekd_train.data.windows import Conversion, ConvertedTrial, Recording, WindowSet, choose, convert
from ekd_train.process_tuning import keep_freed_memory
from firmware_bridge.suggestions import did_you_mean

__all__ = ["ENTRY_POINTS", "Dataset", "Source", "open_dataset"]

ENTRY_POINTS = "ekd.datasets"

_BUILT_IN = ("synthetic", "recordings", "deap", "hci")
_DATASET_MEMBERS = ("identity", "synthetic", "has_eeg", "subjects", "targets", "notes", "read", "fingerprint")


class Dataset(Protocol):
    """The interface of a dataset module."""

    @property
    def identity(self) -> str:
        """Same identity and same subject name mean the same person."""
        ...

    @property
    def synthetic(self) -> bool:
        """Whether the data is synthetic."""
        ...

    @property
    def has_eeg(self) -> bool:
        """Whether every recording has EEG."""
        ...

    @property
    def subjects(self) -> tuple[str, ...]:
        """All subjects, sorted."""
        ...

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the ratings."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user, such as the number of recordings without labels."""
        ...

    def read(self, subjects: Sequence[str], eeg: bool = True) -> Iterator[Recording]:
        """The recordings of these subjects, subject by subject, read lazily."""
        ...

    def fingerprint(self) -> str:
        """A digest of everything that determines `read` except the code: names, options and the content of every file.

        Raises DataError for a file that cannot be read.
        """
        ...


class Source:
    """A dataset, and its conversion to labeled windows."""

    def __init__(self, name: str, dataset: Dataset) -> None:
        self.name = name
        self.dataset = dataset
        self.identity: str = dataset.identity
        self.synthetic: bool = dataset.synthetic
        self.has_eeg: bool = dataset.has_eeg
        self.subjects: tuple[str, ...] = dataset.subjects
        self.targets: tuple[str, ...] = dataset.targets
        self.notes: list[str] = list(dataset.notes)
        self._cacheless = False  # since the cache could not be used once

    def windows(
        self,
        gsr_spec: SignalSpec,
        eeg_spec: SignalSpec | None,
        targets: Sequence[str] = ("arousal",),
        threshold: float = 5.0,
        eeg_features: EegFeatures = "raw",
        subjects: Sequence[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
        high: HighRule = "above",
    ) -> WindowSet:
        """The labeled windows of these subjects (default: all), in the order of `subjects` here, in order of time.

        A window belongs to a trial only if it is wholly inside it. eeg_spec None leaves EEG out.
        The windows of all subjects are converted once and kept in the cache (`ekd_train.data.cache.store`); from there
        they are mapped, and only windows that are not contiguous are copied. progress(done, total) is called as
        subjects are read, and not where the cache has them. Omissions are added to `notes`.
        Raises DataError for unknown targets or subjects, where no window comes out, and where all labels of a
        target by several subjects are of one class.
        """
        self._check_targets(targets)
        names = self.subjects if subjects is None else tuple(subjects)
        unknown = [name for name in names if name not in self.subjects]
        if unknown or not names:
            what = f"has no subject {unknown[0]!r}" if unknown else "was asked for no subject"
            hint = did_you_mean(unknown[0], self.subjects) if unknown else ""
            raise DataError(f"{self.name} {what}: known are {', '.join(self.subjects)}{hint}")
        conversion = self._conversion(names, gsr_spec, eeg_spec, eeg_features, progress)
        for note in conversion.notes:
            self._note(note)
        windows = choose(conversion, targets, threshold, high, names, self._note)
        if not len(windows):
            said = f" ({'; '.join(conversion.notes)})" if conversion.notes else ""
            raise DataError(
                f"{self.name} gives no window: every trial is shorter than {gsr_spec.window_s:g} s, unrated or "
                f"left out{said}"
            )
        if len(names) > 1:
            self._check_classes(windows, threshold, high)
        return windows

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _conversion(
        self,
        names: Sequence[str],
        gsr_spec: SignalSpec,
        eeg_spec: SignalSpec | None,
        eeg_features: EegFeatures,
        progress: Callable[[int, int], None] | None,
    ) -> Conversion:
        """All subjects' windows from the cache, or only these subjects' in memory where there is no cache."""

        def convert_all(subjects: Sequence[str], gsr: Rows, eeg: Rows | None) -> Converted:
            trials: list[ConvertedTrial] = []
            pending: deque[Future[Conversion]] = deque()

            def take() -> None:
                part = pending.popleft().result()
                gsr.append(part.gsr)
                if eeg is not None and part.eeg is not None:
                    eeg.append(part.eeg)
                trials.extend(part.trials)

            keep_freed_memory()
            with ThreadPoolExecutor(workers()) as pool:
                for done, subject in enumerate(subjects, start=1):
                    for recording in self._read(subject, eeg is not None):
                        pending.append(pool.submit(convert, recording, gsr_spec, eeg_spec, eeg_features))
                        if len(pending) > workers():
                            take()
                    if progress is not None:
                        progress(done, len(subjects))
                while pending:
                    take()
            return Converted(tuple(trials), tuple(self.dataset.notes))

        def convert_unchanged(gsr: Rows, eeg: Rows | None) -> Converted:
            converted = convert_all(self.subjects, gsr, eeg)
            if self.dataset.fingerprint() != fingerprint:
                raise DataError(f"{self.name} changed while it was read: start again once its files stay the same")
            return converted

        if cache_folder() is not None and not self._cacheless:
            fingerprint = self.dataset.fingerprint()
            key = entry_key(fingerprint, gsr_spec, eeg_spec, eeg_features)
            cached = fetch(key, self.name, gsr_spec.window_s, eeg_spec is not None, convert_unchanged, self._note)
            if cached is not None:
                return cached
            self._cacheless = True
        wanted = [subject for subject in self.subjects if subject in names]
        gsr, eeg = RowArray(), RowArray() if eeg_spec is not None else None
        converted = convert_all(wanted, gsr, eeg)
        return Conversion(
            gsr.array(), None if eeg is None else eeg.array(), converted.trials, gsr_spec.window_s, converted.notes
        )

    def _read(self, subject: str, eeg: bool) -> Iterator[Recording]:
        try:
            yield from self.dataset.read([subject], eeg=eeg)
        except OSError as error:
            raise DataError(f"cannot read {error.filename or self.name}: {error.strerror or error}") from error

    def _check_classes(self, windows: WindowSet, threshold: float, high: HighRule) -> None:
        for column, target in enumerate(windows.targets):
            classes = np.unique(windows.labels[:, column])
            if len(classes) == 1:
                sides = ("at or below", "above") if high == "above" else ("below", "at or above")
                raise DataError(
                    f"all ratings of {target} by {len(windows.subjects)} subjects of {self.name} are "
                    f"{sides[classes[0]]} {threshold:g}, which is one class only: choose another threshold or add "
                    "recordings"
                )

    def _check_targets(self, targets: Sequence[str]) -> None:
        for target in targets:
            if target not in self.targets:
                hint = did_you_mean(target, self.targets)
                raise DataError(f"{self.name} has no ratings of {target!r}: choose {', '.join(self.targets)}{hint}")
        if not targets:
            raise DataError(f"name at least one target: {self.name} has {', '.join(self.targets)}")


def open_dataset(data: str) -> Source:
    """The dataset that `--data` names; the module's docstring lists the forms.

    Raises DataError, with what to write instead, for an unknown name, option or folder, and for a dataset of another
    package that does not load. Raises ConfigError where an optional package is missing.
    """
    kind, _, rest = data.partition(":")
    if kind == "recordings":
        if not rest:
            raise DataError("write recordings:FOLDER, the folder that holds labels.csv and the recordings")
        return Source(data, RecordingsDataset(Path(rest)))
    if kind in ("deap", "hci"):
        text, _, query = rest.partition("?")
        if not text:
            raise DataError(f"write {kind}:FOLDER, the folder of your own copy")
        folder = Path(text).expanduser()
        if kind == "deap":
            return Source(data, DeapDataset(folder, **_chosen(data, query, DEAP_OPTIONS)))
        return Source(data, HciTaggingDataset(folder, **_chosen(data, query, HCI_OPTIONS)))
    head, _, query = data.partition("?")
    if head in ("synthetic", "synthetic:hard"):
        return Source(data, SyntheticDataset(_synthetic(data, head.endswith(":hard"), query)))
    foreign = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS) if entry.name not in _BUILT_IN}
    if kind in foreign:
        return Source(data, _open_foreign(foreign[kind], rest))
    names = sorted(foreign)
    forms = ["synthetic", "synthetic:hard", "recordings:FOLDER", "deap:FOLDER"]
    known = ", ".join([*forms, "hci:FOLDER", *(f"{name}:ARGUMENT" for name in names)])
    first, _, last = known.rpartition(", ")
    wrong, right = (head, forms[:2]) if kind == "synthetic" else (head.partition(":")[0], [*_BUILT_IN, *names])
    raise DataError(f"unknown data {data!r}: write {first} or {last}{did_you_mean(wrong, right)}")


def _open_foreign(entry: EntryPoint, argument: str) -> Dataset:
    """A dataset of another package, checked for the attributes of `Dataset`."""
    try:
        opener = entry.load()
    except Exception as error:
        raise DataError(f"the dataset {entry.name} ({entry.value}) does not load: {error}") from error
    if not callable(opener):
        raise DataError(f"{entry.value} is not a function or class that opens a dataset: correct its package")
    try:
        dataset: Dataset = opener(argument)
    except OSError as error:
        raise DataError(f"cannot read {error.filename or argument}: {error.strerror or error}") from error
    missing = [name for name in _DATASET_MEMBERS if not hasattr(dataset, name)]
    if missing:
        raise DataError(f"the dataset {entry.name} ({entry.value}) has no {', '.join(missing)}: correct its package")
    return dataset


def _synthetic(data: str, hard: bool, query: str) -> SyntheticConfig:
    known = [field.name for field in fields(SyntheticConfig) if field.name != "difficulty"]
    options: dict[str, float] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        _check_option(data, key, known)
        try:
            options[key] = float(text) if key == "trial_s" else int(text)
        except ValueError:
            raise DataError(f"{data}: {key}={text} is not a number") from None
    return SyntheticConfig(difficulty="hard" if hard else "default", **options)  # type: ignore[arg-type]


def _chosen(data: str, query: str, known: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for key, value in options.items():
        _check_option(data, key, known)
        if value not in known[key]:
            hint = did_you_mean(value, known[key])
            raise DataError(f"{data}: {key}={value} is unknown, choose {key}={' or '.join(known[key])}{hint}")
    return options


def _check_option(data: str, key: str, known: Collection[str]) -> None:
    if key not in known:
        raise DataError(f"{data}: unknown option {key!r}, choose from {', '.join(known)}{did_you_mean(key, known)}")
