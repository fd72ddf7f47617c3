"""The training configuration: frozen dataclasses, read from TOML presets, changed by dotted keys.

Its sections are in `ekd_train.settings.sections`. Every setting has a help sentence and a range (see
`ekd_train.settings.field`).
"""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ekd_edge.errors import ConfigError
from ekd_edge.model.manifest import HighRule, unstated_state
from ekd_train.data.splits import SplitConfig
from ekd_train.models.config import NetworkShape
from ekd_train.settings.field import check_settings, check_value, setting, settings_of_class
from ekd_train.settings.sections import ComputeConfig, DistillConfig, FeedbackConfig, SignalConfig, StageConfig
from firmware_bridge.home import expanded
from firmware_bridge.suggestions import did_you_mean

__all__ = [
    "ComputeConfig",
    "DistillConfig",
    "FeedbackConfig",
    "NetworkShape",
    "SignalConfig",
    "SplitConfig",
    "StageConfig",
    "TrainConfig",
    "describe_preset",
    "load_preset",
    "preset_names",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """All settings of a run."""

    data: str = setting("synthetic", "the dataset, as for --data")
    targets: tuple[str, ...] = setting(("arousal",), "the ratings to predict")
    threshold: float = setting(5.0, "the rating that separates low from high")
    high: HighRule = setting("above", "a rating is high above the threshold, or at-or-above it")
    seed: int = setting(0, "seed of weights, batches, dropout and the holdout split", at_least=0)
    signal: SignalConfig = field(default_factory=SignalConfig)
    network: NetworkShape = field(default_factory=NetworkShape)
    split: SplitConfig = field(default_factory=SplitConfig)
    teacher: StageConfig = field(default_factory=StageConfig)
    student: StageConfig = field(default_factory=StageConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    feedback: FeedbackConfig = field(default_factory=FeedbackConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    def __post_init__(self) -> None:
        check_settings(self, "the configuration")
        if not self.targets or len(set(self.targets)) != len(self.targets):
            raise ConfigError("targets must name at least one rating, each once, such as ['arousal']")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dict; `from_json` is its exact inverse."""
        return dataclasses.asdict(self) | {"targets": list(self.targets)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TrainConfig":
        """Return the configuration of nested tables (TOML or JSON).

        Raises ConfigError for unknown keys and for values of the wrong kind.
        """
        return _from_table(cls, data, "")

    @classmethod
    def from_saved(cls, data: Mapping[str, Any]) -> "TrainConfig":
        """The configuration of a run or sweep, which an earlier version of ekd may have saved.

        Settings that it lacks get the values that describe that version. Raises ConfigError as
        `from_json`, and AttributeError or TypeError if it is not a table.
        """
        state = unstated_state(str(data.get("data", "")))
        signal = {"bound": "none", "normalization_state": state, "keep_bad_windows": True, "bridge_s": 0.0}
        network = {"student_noise": 0.0}
        return cls.from_json(
            {**data, "signal": signal | data.get("signal", {}), "network": network | data.get("network", {})}
        )

    def override(self, assignments: Sequence[str]) -> "TrainConfig":
        """Return this configuration with `key=value` changes, such as `student.epochs=3`.

        A value is read as TOML; a text that is not a TOML value is a string.
        """
        tables = self.to_json()
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            if not equals:
                raise ConfigError(f"--set {assignment}: write it as key=value, such as student.epochs=3")
            *path, last = key.strip().split(".")
            table = tables
            for part in path:
                table = table.get(part, None) if isinstance(table, dict) else None  # type: ignore[assignment]
            if not isinstance(table, dict) or last not in table:
                raise ConfigError(f"--set {assignment}: there is no setting {key.strip()!r}{_nearest_key(key.strip())}")
            table[last] = _value(text.strip())
        return self.from_json(tables)


def _nearest_key(key: str) -> str:
    return did_you_mean(key, [known.key for known in settings_of_class(TrainConfig)])


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _from_table(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    hints = get_type_hints(cls)
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise ConfigError(
            f"unknown setting {where}{unknown[0]}: choose from {', '.join(hints)}{did_you_mean(unknown[0], hints)}"
        )
    values = {name: _checked(hints[name], value, f"{where}{name}") for name, value in table.items()}
    for field_ in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field_.name in values:
            check_value(field_, values[field_.name], f"{where}{field_.name}")
    return cls(**values)


def _checked(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be a table")
        return _from_table(hint, value, f"{where}.")
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            hint_text = did_you_mean(str(value), get_args(hint))
            raise ConfigError(f"{where} = {value!r}: choose one of {', '.join(get_args(hint))}{hint_text}")
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{where} must be a list of names")
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, hint) or isinstance(value, bool) != (hint is bool):
        raise ConfigError(f"{where} = {value!r} must be of type {hint.__name__}")
    return value


def preset_names() -> list[str]:
    """Return the names of the presets that ekd includes."""
    folder = resources.files("ekd_train") / "presets"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def describe_preset(name: str) -> str:
    """Return the first sentence of a shipped preset's comment."""
    text = (resources.files("ekd_train") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    return text.splitlines()[0].removeprefix("#").strip()


def load_preset(name: str) -> TrainConfig:
    """Return the configuration of a shipped preset or of a TOML file."""
    path = Path(expanded(name))
    if name in preset_names():
        text = (resources.files("ekd_train") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    elif path.suffix == ".toml" and path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        known = preset_names()
        raise ConfigError(
            f"there is no preset {name!r}: choose {', '.join(known)} or give a .toml file{did_you_mean(name, known)}"
        )
    try:
        return TrainConfig.from_json(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"preset {name}: {error}") from error
