"""The plan of a sweep (sweep.json). After the start of the sweep only methods and seeds can be added."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ekd_edge.atomic_files import write_json
from ekd_edge.errors import ConfigError
from ekd_train.config import TrainConfig
from ekd_train.data.source import open_dataset
from ekd_train.data.splits import fold_count, make_split, parse_split
from ekd_train.feasibility import check_targets
from ekd_train.methods import METHODS, choose_methods
from ekd_train.sweeps.cell import Cell
from firmware_bridge.suggestions import did_you_mean

__all__ = ["SweepPlan", "plan_sweep"]

FORMAT = 1
FILE = "sweep.json"
SHOWN_DIFFERENCES = 3
NAMES = {"identity": "the content of the data", "folds": "the number of folds"}


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The plan of a sweep, which has one result for each method and cell.

    config: shared by all cells; its targets and seed are those of the sweep, and each cell has its own.
    folds: the number of folds of the split. identity, synthetic: of the dataset, as in `Run`.
    Raises ConfigError if a name is repeated, unknown or missing.
    """

    config: TrainConfig
    targets: tuple[str, ...]
    seeds: tuple[int, ...]
    folds: int
    methods: tuple[str, ...]
    split: str
    identity: str
    synthetic: bool

    def __post_init__(self) -> None:
        for name in ("targets", "seeds", "methods"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ConfigError(f"a sweep needs at least one of its {name}, without duplicates: name each once")
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown:
            raise ConfigError(
                f"there is no method {unknown[0]!r}: choose from {', '.join(METHODS)}"
                f"{did_you_mean(unknown[0], METHODS)}"
            )
        if self.folds < 1:
            raise ConfigError("a sweep needs at least one fold: choose another --split")

    def cells(self) -> list[Cell]:
        """The cells, seed by seed."""
        return [
            Cell(target, seed, fold) for seed in self.seeds for target in self.targets for fold in range(self.folds)
        ]

    def describe(self) -> str:
        """Return the plan in one line."""
        parts = [
            f"{self.folds} folds ({self.split})" if self.folds > 1 else self.split,
            ", ".join(self.targets),
            f"{len(self.seeds)} seeds" if len(self.seeds) > 1 else f"seed {self.seeds[0]}",
            ", ".join(self.methods),
        ]
        kind = "synthetic data" if self.synthetic else self.config.data
        return f"{kind}: {' x '.join(parts)} = {len(self.cells()) * len(self.methods)} results"

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; data and dataset are for readers of the file."""
        return {
            "format": FORMAT,
            "data": self.config.data,
            "dataset": re.split("[:?]", self.config.data)[0],
            **dataclasses.asdict(self),
            "config": self.config.to_json(),
        }

    @classmethod
    def load(cls, folder: Path) -> "SweepPlan":
        """The plan of the sweep in `folder`. Raises ConfigError if it is missing or cannot be read."""
        path = folder / FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise ConfigError(f"{folder} is not a sweep (no {FILE}): start one with ekd-train sweep --output") from None
        except (ValueError, OSError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ConfigError(f"{path} was written by another version of ekd: continue it with that one")
        try:
            return cls(
                config=TrainConfig.from_saved(data["config"]),
                targets=tuple(data["targets"]),
                seeds=tuple(data["seeds"]),
                folds=data["folds"],
                methods=tuple(data["methods"]),
                split=data["split"],
                identity=data["identity"],
                synthetic=data["synthetic"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path} is incomplete: {error}") from error

    def save(self, folder: Path) -> None:
        """Write sweep.json atomically."""
        write_json(folder / FILE, self.to_json())

    def extended(self, wanted: "SweepPlan", folder: Path) -> "SweepPlan":
        """Return this plan with the additional methods and seeds of `wanted`.

        Raises ConfigError, with the differences, if anything else differs.
        """
        differing = [
            f"{NAMES.get(key, key)} is {there!r} there and {here!r} here"
            for key, there, here in _differences(self, wanted)
        ]
        if differing:
            more = f" and {len(differing) - SHOWN_DIFFERENCES} more" if len(differing) > SHOWN_DIFFERENCES else ""
            raise ConfigError(
                f"{folder} has another sweep ({'; '.join(differing[:SHOWN_DIFFERENCES])}{more}): "
                f"continue that with ekd-train sweep --resume {folder}, or choose another --output for this one"
            )
        return replace(
            self,
            seeds=tuple(sorted({*self.seeds, *wanted.seeds})),
            methods=tuple(dict.fromkeys((*self.methods, *wanted.methods))),
        )


def _differences(one: SweepPlan, other: SweepPlan) -> list[tuple[str, Any, Any]]:
    flat = [
        _flat({**dataclasses.asdict(plan), "config": plan.config.to_json(), "seeds": None, "methods": None})
        for plan in (one, other)
    ]
    return [(key, flat[0][key], flat[1][key]) for key in flat[0] if flat[0][key] != flat[1][key]]


def _flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.".removeprefix("config."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def plan_sweep(config: TrainConfig, split: str, seeds: int, methods: Sequence[str] | None) -> SweepPlan:
    """Return the plan of a configuration with its targets and `seeds` seeds, starting with its own.

    methods: None for the default methods that the data allows.

    Raises DataError or ConfigError if the data cannot be read or does not have the targets or subjects.
    """
    if seeds < 1:
        raise ConfigError("--seeds must be at least 1")
    source = open_dataset(config.data)
    check_targets(config, source)
    config = replace(config, split=replace(config.split, **parse_split(split), fold=0))
    make_split(config.split, config.seed, source.subjects)
    if methods is None:
        methods = ("student", "kd", "kd-feedback", "teacher") if source.has_eeg else ("student",)
    return SweepPlan(
        config=config,
        targets=config.targets,
        seeds=tuple(range(config.seed, config.seed + seeds)),
        folds=fold_count(config.split, source.subjects),
        methods=choose_methods(methods, config, source.has_eeg),
        split=split,
        identity=source.identity,
        synthetic=source.synthetic,
    )
