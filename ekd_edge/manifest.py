"""The manifest: what a model file says about itself, as typed nouns with a strict JSON form.

`encode_manifest` and `parse_manifest` are exact inverses. Parsing trusts nothing: every field is checked for
its kind and range, and a field that this version does not know is refused.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ekd_edge.errors import ArtefactError, SignalError
from ekd_edge.signal.spec import SignalSpec

__all__ = [
    "FORMAT_VERSION",
    "Calibration",
    "HighRule",
    "Kind",
    "Manifest",
    "Quantization",
    "Target",
    "TensorQuantization",
    "Training",
    "encode_manifest",
    "parse_manifest",
]

FORMAT_VERSION = 1
"""Rises with every change of the manifest's fields or of the container around it."""

MAX_TARGETS = 16
MAX_CLASSES = 64
MAX_WINDOW_SAMPLES = 1 << 20

Kind = Literal["int8", "float32"]
"""int8: every tensor is an integer, input and output included. float32: every tensor is float32."""

HighRule = Literal["above", "at-or-above"]
"""Which ratings are high: those above the threshold alone, or those at it as well. Studies use both."""

_HIGH_RULES: dict[str, HighRule] = {"above": "above", "at-or-above": "at-or-above"}

_KINDS: dict[str, Kind] = {"int8": "int8", "float32": "float32"}


@dataclass(frozen=True, slots=True)
class Target:
    """One thing the model predicts: its name ("arousal") and its labels in logit order ("low", "high")."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorQuantization:
    """real = scale * (int8 - zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Quantization:
    """Quantization of the model's input and output."""

    input: TensorQuantization
    output: TensorQuantization


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the activation ranges were measured on: float32 windows (n, window_samples) of training subjects.

    sha256: of those windows' bytes, little-endian, row after row.
    """

    method: str
    subjects: tuple[str, ...]
    windows: int
    seed: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Training:
    """Where the model comes from.

    source: the `--data` text that loads the dataset; dataset: the dataset's identity, which two sources share
    only if they hold the same recordings. synthetic: no person was recorded. The subject sets are disjoint.
    threshold: a rating above it is label 1. high: whether one at the threshold is label 1 as well.
    """

    source: str
    dataset: str
    synthetic: bool
    train_subjects: tuple[str, ...]
    validation_subjects: tuple[str, ...]
    test_subjects: tuple[str, ...]
    threshold: float = 5.0
    high: HighRule = "above"

    @property
    def seen_subjects(self) -> frozenset[str]:
        """Subjects that shaped the model in any way: held-out figures must exclude them."""
        return frozenset(self.train_subjects) | frozenset(self.validation_subjects)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a model file says about itself.

    The model has one input (1, signal.window_samples) and one output (1, targets * classes), the logits of
    target after target. quantization and calibration are None exactly for kind "float32". evaluation: figures
    measured at export, free JSON. made_by: name and version of the program. sha256, size_bytes: of the
    flatbuffer alone; `save_artefact` fills them in.
    """

    kind: Kind
    signal: SignalSpec
    targets: tuple[Target, ...]
    training: Training
    quantization: Quantization | None = None
    calibration: Calibration | None = None
    evaluation: Mapping[str, Any] | None = None
    made_by: str = "ekd"
    sha256: str = ""
    size_bytes: int = 0
    format_version: int = FORMAT_VERSION

    @property
    def n_classes(self) -> int:
        """Classes of each target."""
        return len(self.targets[0].labels)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `parse_manifest` of its encoding is the inverse."""
        return asdict(self) | {"signal": self.signal.to_json()}


def encode_manifest(manifest: Manifest) -> bytes:
    """UTF-8 JSON, indented for people who unzip it.

    Raises ArtefactError where the manifest would not be accepted by `parse_manifest`.
    """
    try:
        encoded = json.dumps(manifest.to_json(), indent=1, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise ArtefactError(f"the manifest cannot be written as JSON: {error}") from error
    parse_manifest(encoded)
    return encoded


def parse_manifest(encoded: bytes) -> Manifest:
    """The manifest in UTF-8 JSON.

    Raises ArtefactError where it is malformed, or of another format version.
    """
    root = _Fields("manifest", _parse_json(encoded))
    version = root.integer("format_version", 1)
    if version > FORMAT_VERSION:
        raise ArtefactError(
            f"made by a newer ekd (format {version}, this one reads up to {FORMAT_VERSION}): "
            "upgrade with `pip install -U ekd`"
        )
    kind = _KINDS.get(root.text("kind"))
    if kind is None:
        raise ArtefactError("manifest: unknown kind of model")
    quantization = root.optional("quantization")
    calibration = root.optional("calibration")
    if (kind == "int8") != (quantization is not None) or (kind == "int8") != (calibration is not None):
        raise ArtefactError("manifest: quantization and calibration belong to kind int8, and to it alone")
    manifest = Manifest(
        kind=kind,
        signal=_signal(root.mapping("signal")),
        targets=_targets(root.items("targets")),
        training=_training(_Fields("training", root.mapping("training"))),
        quantization=_quantization(_Fields("quantization", quantization)) if quantization is not None else None,
        calibration=_calibration(_Fields("calibration", calibration)) if calibration is not None else None,
        evaluation=root.optional("evaluation"),
        made_by=root.text("made_by"),
        sha256=root.text("sha256"),
        size_bytes=root.integer("size_bytes", 0),
        format_version=version,
    )
    root.done()
    return manifest


class _Fields:
    """Typed, consuming access to one JSON object; every complaint names the field."""

    def __init__(self, name: str, data: Mapping[str, Any]) -> None:
        self._name = name
        self._left = dict(data)

    def take(self, key: str, kind: type, what: str) -> Any:
        value = self._left.pop(key, None)
        if type(value) is not kind:
            raise ArtefactError(f"manifest: {self._name}.{key} must be {what}")
        return value

    def text(self, key: str) -> str:
        value: str = self.take(key, str, "text")
        if not value.isprintable():
            raise ArtefactError(f"manifest: {self._name}.{key} holds control characters")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        return _texts(f"{self._name}.{key}", self.items(key))

    def integer(self, key: str, low: int, high: int = 2**63 - 1) -> int:
        value: int = self.take(key, int, f"a whole number from {low}")
        if not low <= value <= high:
            raise ArtefactError(f"manifest: {self._name}.{key} must lie between {low} and {high}")
        return value

    def number(self, key: str) -> float:
        value: float = self.take(key, float, "a number with a decimal point")
        return value

    def positive(self, key: str) -> float:
        value = self.number(key)
        if not value > 0:
            raise ArtefactError(f"manifest: {self._name}.{key} must be above zero")
        return value

    def flag(self, key: str) -> bool:
        value: bool = self.take(key, bool, "true or false")
        return value

    def items(self, key: str) -> list[Any]:
        value: list[Any] = self.take(key, list, "a list")
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        value: dict[str, Any] = self.take(key, dict, "an object")
        return value

    def optional(self, key: str) -> dict[str, Any] | None:
        if key in self._left and self._left[key] is None:
            return self._left.pop(key)  # type: ignore[no-any-return]
        return self.mapping(key)

    def done(self) -> None:
        if self._left:
            raise ArtefactError(f"manifest: {self._name} has unknown fields: {', '.join(sorted(self._left))}")


def _parse_json(encoded: bytes) -> Mapping[str, Any]:
    try:
        data = json.loads(encoded.decode(), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"the manifest is no valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise ArtefactError("the manifest is no JSON object")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key appears twice")
    return fields


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value


def _texts(name: str, values: Iterable[Any]) -> tuple[str, ...]:
    texts = tuple(values)
    if not all(type(text) is str and text and text.isprintable() for text in texts):
        raise ArtefactError(f"manifest: {name} must be a list of printable texts")
    if len(set(texts)) != len(texts):
        raise ArtefactError(f"manifest: {name} names something twice")
    return texts


def _signal(data: dict[str, Any]) -> SignalSpec:
    try:
        spec = SignalSpec.from_json(data)
        exact = json.dumps(spec.to_json(), sort_keys=True) == json.dumps(data, sort_keys=True)
    except (SignalError, TypeError, ValueError) as error:
        raise ArtefactError(f"manifest: signal: {error}") from error
    if not exact or spec.window_samples > MAX_WINDOW_SAMPLES or spec.hop_samples > MAX_WINDOW_SAMPLES:
        raise ArtefactError("manifest: signal is no signal specification of this format version")
    return spec


def _targets(data: list[Any]) -> tuple[Target, ...]:
    if not 1 <= len(data) <= MAX_TARGETS:
        raise ArtefactError(f"manifest: there must be 1 to {MAX_TARGETS} targets")
    targets = []
    for item in data:
        if type(item) is not dict:
            raise ArtefactError("manifest: each target must be an object")
        fields = _Fields("target", item)
        targets.append(Target(fields.text("name"), fields.texts("labels")))
        fields.done()
    _texts("target names", (target.name for target in targets))
    counts = {len(target.labels) for target in targets}
    if len(counts) != 1 or not 2 <= counts.pop() <= MAX_CLASSES:
        raise ArtefactError(f"manifest: all targets must have the same number of labels, 2 to {MAX_CLASSES}")
    return tuple(targets)


def _training(fields: _Fields) -> Training:
    high = _HIGH_RULES.get(fields.text("high"))
    if high is None:
        raise ArtefactError(f"manifest: training.high must be one of {', '.join(_HIGH_RULES)}")
    training = Training(
        source=fields.text("source"),
        dataset=fields.text("dataset"),
        synthetic=fields.flag("synthetic"),
        train_subjects=fields.texts("train_subjects"),
        validation_subjects=fields.texts("validation_subjects"),
        test_subjects=fields.texts("test_subjects"),
        threshold=fields.number("threshold"),
        high=high,
    )
    fields.done()
    everyone = training.train_subjects + training.validation_subjects + training.test_subjects
    if len(set(everyone)) != len(everyone):
        raise ArtefactError("manifest: training, validation and test subjects overlap")
    return training


def _quantization(fields: _Fields) -> Quantization:
    sides = []
    for key in ("input", "output"):
        side = _Fields(f"quantization.{key}", fields.mapping(key))
        sides.append(TensorQuantization(side.positive("scale"), side.integer("zero_point", -128, 127)))
        side.done()
    fields.done()
    return Quantization(*sides)


def _calibration(fields: _Fields) -> Calibration:
    calibration = Calibration(
        method=fields.text("method"),
        subjects=fields.texts("subjects"),
        windows=fields.integer("windows", 1),
        seed=fields.integer("seed", 0),
        sha256=fields.text("sha256"),
    )
    fields.done()
    return calibration
