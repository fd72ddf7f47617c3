"""The run folder: configuration, data, split, weights and results of one training run.

run.json                 configuration, signal specifications, split, versions, results
teacher.safetensors      the teacher after its own training
student.safetensors      the distilled student, the input of `ekd-export`
metrics.jsonl            one line per epoch
checkpoint-*.safetensors state of an unfinished stage
"""

import dataclasses
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ekd_edge.atomic_files import write_json
from ekd_edge.errors import ConfigError, SignalError
from ekd_edge.signal.spec import SignalSpec
from ekd_train.checkpoint import checkpoint_path, load_weights
from ekd_train.config import TrainConfig
from ekd_train.data.splits import Split, SubjectSplit, split_from_json, split_to_json
from ekd_train.models.config import NetworkConfig
from ekd_train.models.student import Student
from ekd_train.models.teacher import Teacher

__all__ = ["STUDENT_FILE", "TEACHER_FILE", "Run", "create_run", "default_run_path", "newest_run", "refuse_existing"]

FORMAT = 1
STUDENT_FILE = "student.safetensors"
TEACHER_FILE = "teacher.safetensors"

_READS = {"teacher": ("teacher", "compute"), "student": ("student", "distill", "feedback", "compute")}
"""The tables of the configuration on which each stage depends."""


@dataclass(frozen=True, slots=True)
class Run:
    """An open run folder.

    source: the name of the dataset, such as "synthetic".
    identity: the dataset's identity, by which evaluation recognizes training subjects.
    synthetic: whether the data is synthetic.
    has_eeg: false if the dataset has GSR only, so that there is no teacher.
    results: of the finished stages, "teacher" and "student", and "signal_quality", the numbers of windows left out.
    """

    path: Path
    config: TrainConfig
    signal: SignalSpec
    eeg_signal: SignalSpec | None
    network: NetworkConfig
    source: str
    identity: str
    synthetic: bool
    split: Split
    results: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path | str) -> "Run":
        """Open an existing run folder.

        Raises ConfigError if it is missing or cannot be read.
        """
        path = Path(path)
        try:
            data = json.loads((path / "run.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{path} is not a run folder (no run.json): make one with ekd-train") from None
        except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
            raise ConfigError(f"{path / 'run.json'} cannot be read: {error}") from error
        if data.get("format") != FORMAT:
            raise ConfigError(f"{path} was written by another version of ekd: train again with this one")
        try:
            network = data["network"] | {"targets": tuple(data["network"]["targets"])}
            eeg = data["eeg_signal"]
            return cls(
                path=path,
                config=TrainConfig.from_saved(data["config"]),
                signal=SignalSpec.from_json(data["signal"]),
                eeg_signal=SignalSpec.from_json(eeg) if eeg else None,
                network=NetworkConfig(**network),
                source=data["source"],
                identity=data["identity"],
                synthetic=data["synthetic"],
                split=split_from_json(data["split"]),
                results=data["results"],
            )
        except (AttributeError, KeyError, TypeError, SignalError) as error:
            raise ConfigError(f"{path / 'run.json'} is incomplete: {error}") from error

    @property
    def has_eeg(self) -> bool:
        """Whether the data has EEG, so that the run has a teacher."""
        return self.eeg_signal is not None

    @property
    def subject_split(self) -> SubjectSplit:
        """The split by subject; raises ConfigError for a leaky split."""
        if not isinstance(self.split, SubjectSplit):
            raise ConfigError(
                f"{self.path} was trained with the trial-leaky split, which has no held-out subjects: "
                "train again with a split by subject"
            )
        return self.split

    def student(self) -> Student:
        """The distilled student in inference mode."""
        if not (self.path / STUDENT_FILE).is_file():
            raise ConfigError(f"{self.path} has no student yet: finish it with ekd-train --resume {self.path}")
        student = Student(self.network)
        load_weights(self.path / STUDENT_FILE, student)
        return student.eval()

    def teacher(self) -> Teacher:
        """The trained teacher in inference mode."""
        if not (self.path / TEACHER_FILE).is_file():
            raise ConfigError(f"{self.path} has no teacher yet: train it with ekd-train teacher")
        teacher = Teacher(self.network)
        load_weights(self.path / TEACHER_FILE, teacher)
        return teacher.eval()

    def save(self) -> None:
        """Write run.json atomically. Raises ConfigError if it cannot be written."""
        data = {
            "format": FORMAT,
            "config": self.config.to_json(),
            "signal": self.signal.to_json(),
            "eeg_signal": self.eeg_signal.to_json() if self.eeg_signal else None,
            "network": dataclasses.asdict(self.network),
            "source": self.source,
            "identity": self.identity,
            "synthetic": self.synthetic,
            "split": split_to_json(self.split),
            "environment": {"python": platform.python_version(), "torch": str(torch.__version__)},
            "results": dict(self.results),
        }
        write_json(self.path / "run.json", data)

    def with_results(self, **results: Any) -> "Run":
        """Save this run with more results and return it."""
        run = dataclasses.replace(self, results={**self.results, **results})
        run.save()
        return run

    def with_config(self, config: TrainConfig) -> "Run":
        """Save this run with another configuration of its remaining stages and return it.

        Raises ConfigError for settings of finished stages, and if an unfinished stage would change.
        """
        changed = {name for name in config.to_json() if getattr(config, name) != getattr(self.config, name)}
        for name in sorted(changed - {table for tables in _READS.values() for table in tables}):
            raise ConfigError(f"{name} cannot be changed after {self.path} was started: start a new run")
        if "teacher" in changed and "teacher" in self.results:
            raise ConfigError(f"teacher cannot be changed because {self.path} has a trained teacher: start a new run")
        for stage, tables in _READS.items():
            checkpoint = checkpoint_path(self.path, stage)
            if checkpoint.is_file() and stage not in self.results and changed & set(tables):
                raise ConfigError(
                    f"the {stage} of {self.path} is unfinished with other settings: finish it with ekd-train --resume "
                    f"{self.path} and no --set, or delete {checkpoint} to start it again"
                )
        run = dataclasses.replace(self, config=config)
        run.save()
        return run


def create_run(path: Path, **fields: Any) -> Run:
    """Create a run folder. Raises ConfigError if it exists."""
    refuse_existing(path)
    run = Run(path=path, results={}, **fields)
    run.save()
    return run


def refuse_existing(path: Path) -> None:
    """Raise ConfigError if `path` is a run folder."""
    if (path / "run.json").exists():
        raise ConfigError(f"{path} is a run already: continue it with --resume {path}, or choose another --output")


def default_run_path(preset: str, root: str = "runs") -> Path:
    """Return the path of a new folder under `root`, named by time and preset."""
    return Path(root) / f"{time.strftime('%Y%m%d-%H%M%S')}-{Path(preset).stem}"


def newest_run(root: Path | str = "runs") -> Path:
    """Return the newest run folder below `root` that has a finished student.

    Raises ConfigError if there is none.
    """
    students = sorted(Path(root).glob(f"*/{STUDENT_FILE}"), key=lambda file: file.stat().st_mtime)
    if not students:
        raise ConfigError(f"no finished run in {root}/: make one with ekd-train --preset smoke")
    return students[-1].parent
