"""Datasets by name: `synthetic`, `synthetic:hard`, `synthetic?subjects=24&seed=3`,
`recordings:FOLDER`, `recordings:FOLDER?scale=1..5`, `deap:FOLDER`,
`deap:FOLDER?gsr=relative&baseline=subtract&channels=32`, `hci:FOLDER`, `hci:FOLDER?channels=32`.

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
from ekd_edge.model.manifest import HighRule, NormalizationState
from ekd_edge.signal.spec import SignalSpec
from ekd_train.data.band_power import EegFeatures
from ekd_train.data.cache.fingerprint import cache_folder, workers
from ekd_train.data.cache.row_files import RowArray, Rows
from ekd_train.data.cache.store import Converted, entry_key, fetch
from ekd_train.data.convert import Cutting, GsrChain, convert
from ekd_train.data.datasets.deap import DEAP_OPTIONS, DeapDataset
from ekd_train.data.datasets.hci_tagging import HCI_OPTIONS, HciTaggingDataset
from ekd_train.data.datasets.rating_scale import folder_and_scale
from ekd_train.data.datasets.recordings import RecordingsDataset
from ekd_train.data.datasets.synthetic import SyntheticConfig, SyntheticDataset
from ekd_train.data.left_out import share_of
from ekd_train.data.windows import Conversion, ConvertedTrial, Recording, WindowSet, choose
from ekd_train.process_tuning import keep_freed_memory
from firmware_bridge.home import expand_user
from firmware_bridge.suggestions import did_you_mean

__all__ = ["ENTRY_POINTS", "Dataset", "Source", "open_dataset"]

ENTRY_POINTS = "ekd.datasets"

_BUILT_IN = ("synthetic", "recordings", "deap", "hci")
_DATASET_MEMBERS = ("identity", "synthetic", "has_eeg", "subjects", "targets", "notes", "read", "fingerprint")


class Dataset(Protocol):
    """The interface of a dataset module."""

    @property
    def identity(self) -> str:
        """Name of the population: the same identity and the same subject name mean the same person."""
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
        """Yield the recordings of these subjects, subject by subject, each read when it is requested."""
        ...

    def fingerprint(self) -> str:
        """Return a digest of everything except the code that determines `read`: names, options, content of every file.

        Raises DataError for a file that cannot be read.
        """
        ...


class Source:
    """A dataset that is converted to labeled windows and cached."""

    def __init__(self, name: str, dataset: Dataset) -> None:
        self.name = name
        self.dataset = dataset
        self.identity: str = dataset.identity
        self.synthetic: bool = dataset.synthetic
        self.has_eeg: bool = dataset.has_eeg
        self.subjects: tuple[str, ...] = dataset.subjects
        self.targets: tuple[str, ...] = dataset.targets
        self.refused_targets: Mapping[str, str] = getattr(dataset, "refused_targets", {})
        self.notes: list[str] = list(dataset.notes)
        self._cache_failed = False

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
        state: NormalizationState = "carried",
        keep_bad: bool = False,
        device_hop_samples: int | None = None,
    ) -> WindowSet:
        """Return the labeled windows of some subjects, in the order of `self.subjects` and in order of time.

        A window belongs to a trial if it is entirely inside the trial. The windows of all subjects are converted once
        and stored in the cache (`ekd_train.data.cache.store`). Later calls map them, and copy only windows that are
        not contiguous. Sentences about trials, recordings and windows that were left out are added to `notes`.

        Args:
            gsr_spec: the signal chain of GSR.
            eeg_spec: the signal chain of EEG, or None for windows without EEG.
            targets: names of the ratings to label.
            threshold: the rating above which a label is 1.
            eeg_features: the form of the EEG rows.
            subjects: the subjects, by default all.
            progress: called with the numbers of subjects read and of all subjects; not called for cached windows.
            high: whether a rating at the threshold counts as high.
            state: of the running mean of the normalization, see `ekd_train.data.convert`.
            keep_bad: keep windows whose label a device withholds for their signal quality.
            device_hop_samples: step between a device's windows, None for that of gsr_spec.

        Raises:
            DataError: for unknown targets or subjects, if there are no windows, and if all labels of a target are of
                one class though there are several subjects.
        """
        self._check_targets(targets)
        names = self.subjects if subjects is None else tuple(subjects)
        unknown = [name for name in names if name not in self.subjects]
        if unknown or not names:
            fault = f"{self.name} has no subject {unknown[0]!r}" if unknown else f"no subject of {self.name} is chosen"
            hint = did_you_mean(unknown[0], self.subjects) if unknown else ""
            raise DataError(f"{fault}: choose from {', '.join(self.subjects)}{hint}")
        cutting = Cutting(gsr_spec, eeg_spec, eeg_features, device_hop_samples, state, keep_bad)
        conversion = self._conversion(names, cutting, progress)
        for note in conversion.notes:
            self._note(note)
        windows = choose(conversion, targets, threshold, high, names, self._note)
        bad = sum(trial.windows for trial in windows.left_out)
        if bad and not len(windows):
            raise DataError(
                f"all {bad} windows of {self.name} were left out for their signal quality: check the unit of GSR and "
                "the electrodes, or keep the windows with --keep-bad-windows"
            )
        if bad:
            self._note(f"left out for signal quality: {share_of(bad, bad + len(windows), ' windows')}")
        if not len(windows):
            notes = f" ({'; '.join(conversion.notes)})" if conversion.notes else ""
            raise DataError(
                f"{self.name} has no windows, because every trial is shorter than {gsr_spec.window_s:g} s, unrated or "
                f"left out{notes}: add longer rated trials or shorten signal.window_s"
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
        cutting: Cutting,
        progress: Callable[[int, int], None] | None,
    ) -> Conversion:
        """Return the windows of all subjects from the cache, or those of `names` in memory if there is no cache."""

        def convert_all(subjects: Sequence[str], gsr: Rows, eeg: Rows | None) -> Converted:
            trials: list[ConvertedTrial] = []
            pending: deque[Future[Conversion]] = deque()

            def append_oldest() -> None:
                conversion = pending.popleft().result()
                gsr.append(conversion.gsr)
                if eeg is not None and conversion.eeg is not None:
                    eeg.append(conversion.eeg)
                trials.extend(conversion.trials)

            keep_freed_memory()
            with ThreadPoolExecutor(workers()) as pool:
                for done, subject in enumerate(subjects, start=1):
                    chain = GsrChain(cutting)
                    for recording in self._read(subject, eeg is not None):
                        windows = None
                        if cutting.state == "carried":
                            chain = chain if recording.continues else GsrChain(cutting)
                            windows = chain.push(recording)
                        pending.append(pool.submit(convert, recording, cutting, windows))
                        if len(pending) > workers():
                            append_oldest()
                    if progress is not None:
                        progress(done, len(subjects))
                while pending:
                    append_oldest()
            return Converted(tuple(trials), tuple(self.dataset.notes))

        def convert_unchanged(gsr: Rows, eeg: Rows | None) -> Converted:
            converted = convert_all(self.subjects, gsr, eeg)
            if self.dataset.fingerprint() != fingerprint:
                raise DataError(f"{self.name} changed while it was read: start again when its files do not change")
            return converted

        if cache_folder() is not None and not self._cache_failed:
            fingerprint = self.dataset.fingerprint()
            key, with_eeg = entry_key(fingerprint, cutting), cutting.eeg is not None
            cached = fetch(key, self.name, cutting.gsr.window_s, with_eeg, convert_unchanged, self._note)
            if cached is not None:
                return cached
            self._cache_failed = True
        wanted = [subject for subject in self.subjects if subject in names]
        gsr, eeg = RowArray(), RowArray() if cutting.eeg is not None else None
        converted = convert_all(wanted, gsr, eeg)
        return Conversion(
            gsr.array(), None if eeg is None else eeg.array(), converted.trials, cutting.gsr.window_s, converted.notes
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
                    f"{sides[classes[0]]} {threshold:g}, so there is only one class: choose another threshold, "
                    "state the scale of the ratings, or add recordings"
                )

    def _check_targets(self, targets: Sequence[str]) -> None:
        for target in targets:
            if target in self.refused_targets:
                raise DataError(self.refused_targets[target])
            if target not in self.targets:
                hint = did_you_mean(target, self.targets)
                raise DataError(f"{self.name} has no ratings of {target!r}: choose {', '.join(self.targets)}{hint}")
        if not targets:
            raise DataError(f"name at least one target: {self.name} has {', '.join(self.targets)}")


def open_dataset(data: str) -> Source:
    """Open the dataset that `--data` names; the module's docstring lists the forms.

    Raises DataError for an unknown name, option or folder, and for a dataset of another package that cannot be loaded.
    Raises ConfigError if an optional package is missing.
    """
    kind, _, rest = data.partition(":")
    if kind == "recordings":
        if not rest:
            raise DataError("write recordings:FOLDER, the folder that contains labels.csv and the recordings")
        return Source(data, RecordingsDataset(*folder_and_scale(rest)))
    if kind in ("deap", "hci"):
        text, _, query = rest.partition("?")
        if not text:
            raise DataError(f"write {kind}:FOLDER, the folder of your own copy")
        folder = expand_user(Path(text))
        if kind == "deap":
            return Source(data, DeapDataset(folder, **_options(data, query, DEAP_OPTIONS)))
        return Source(data, HciTaggingDataset(folder, **_options(data, query, HCI_OPTIONS)))
    head, _, query = data.partition("?")
    if head in ("synthetic", "synthetic:hard"):
        return Source(data, SyntheticDataset(_synthetic_config(data, head.endswith(":hard"), query)))
    plugins = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS) if entry.name not in _BUILT_IN}
    if kind in plugins:
        return Source(data, _open_plugin(plugins[kind], rest))
    names = sorted(plugins)
    forms = ["synthetic", "synthetic:hard", "recordings:FOLDER", "deap:FOLDER"]
    known = ", ".join([*forms, "hci:FOLDER", *(f"{name}:ARGUMENT" for name in names)])
    first, _, last = known.rpartition(", ")
    wrong, right = (head, forms[:2]) if kind == "synthetic" else (head.partition(":")[0], [*_BUILT_IN, *names])
    raise DataError(f"unknown data {data!r}: write {first} or {last}{did_you_mean(wrong, right)}")


def _open_plugin(entry: EntryPoint, argument: str) -> Dataset:
    """Open a dataset of another package and check that it has the attributes of `Dataset`."""
    try:
        opener = entry.load()
    except Exception as error:
        raise DataError(
            f"the dataset {entry.name} ({entry.value}) cannot be loaded ({error}): correct its package"
        ) from error
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


def _synthetic_config(data: str, hard: bool, query: str) -> SyntheticConfig:
    known = [field.name for field in fields(SyntheticConfig) if field.name != "difficulty"]
    options: dict[str, float] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        _check_option(data, key, known)
        try:
            options[key] = float(text) if key == "trial_s" else int(text)
        except ValueError:
            raise DataError(f"{data}: {key}={text} is not a number: write {key}=NUMBER") from None
    return SyntheticConfig(difficulty="hard" if hard else "default", **options)  # type: ignore[arg-type]


def _options(data: str, query: str, known: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
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
