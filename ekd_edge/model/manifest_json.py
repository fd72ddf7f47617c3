"""The manifest's JSON form. `encode_manifest` and `parse_manifest` are exact inverses, but for an older sign-off.

Parsing treats the JSON as untrusted: the type and range of every field are checked, and unknown fields are rejected.
"""

import json
from typing import Any, get_args

from ekd_edge.errors import ModelFileError, SignalError
from ekd_edge.model.manifest import (
    FORMAT_VERSION,
    SIGNOFF_VERSION,
    Calibration,
    HighRule,
    Kind,
    Manifest,
    NormalizationState,
    Quantization,
    SignOff,
    SignOffResult,
    Target,
    TensorQuantization,
    Training,
)
from ekd_edge.model.strict_json import Fields, check_texts, parse_object
from ekd_edge.model.subject_hash import is_subject_hash
from ekd_edge.signal.spec import SignalSpec

__all__ = ["encode_manifest", "parse_manifest"]

MAX_TARGETS = 16
MAX_CLASSES = 64
MAX_WINDOW_SAMPLES = 1 << 20
MAX_DEPTH = 32

_HIGH_RULES: dict[str, HighRule] = {rule: rule for rule in get_args(HighRule)}
_STATES: dict[str, NormalizationState] = {state: state for state in get_args(NormalizationState)}
_RESULTS: dict[str, SignOffResult] = {result: result for result in get_args(SignOffResult)}
_KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}


def encode_manifest(manifest: Manifest) -> bytes:
    """UTF-8 JSON, indented for people who unzip it.

    Raises ModelFileError if `parse_manifest` would reject the manifest.
    """
    try:
        encoded = json.dumps(manifest.to_json(), indent=1, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the manifest cannot be written as JSON: {error}") from error
    parse_manifest(encoded)
    return encoded


def parse_manifest(encoded: bytes) -> Manifest:
    """The manifest in UTF-8 JSON.

    Raises ModelFileError if it is malformed or of another format version.
    """
    root = Fields("manifest", parse_object(encoded))
    version = root.integer("format_version", 1)
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"made by a newer ekd (format {version}, this one reads format {FORMAT_VERSION}): "
            "upgrade with `pip install -U ekd`"
        )
    if version < FORMAT_VERSION:
        raise ModelFileError(
            f"made by an older ekd (format {version}, this one reads format {FORMAT_VERSION}): export the run again "
            "with `ekd-export`"
        )
    kind = _KINDS.get(root.text("kind"))
    if kind is None:
        raise ModelFileError(f"manifest: unknown kind of model, known are {', '.join(_KINDS)}")
    quantization = root.optional("quantization")
    calibration = root.optional("calibration")
    signoff = root.optional("signoff")
    evaluation = root.optional("evaluation")
    _check_hashed(evaluation)
    if (kind == "int8") != (quantization is not None) or (kind == "int8") != (calibration is not None):
        raise ModelFileError("manifest: quantization and calibration belong to kind int8 only")
    manifest = Manifest(
        kind=kind,
        signal=_signal(root.mapping("signal")),
        targets=_targets(root.items("targets")),
        training=_training(Fields("training", root.mapping("training"))),
        recipe=root.name("recipe"),
        student=root.name("student"),
        quantization=_quantization(Fields("quantization", quantization)) if quantization is not None else None,
        calibration=_calibration(Fields("calibration", calibration)) if calibration is not None else None,
        signoff=_signoff(signoff) if signoff is not None else None,
        evaluation=evaluation,
        made_by=root.text("made_by"),
        sha256=root.text("sha256"),
        size_bytes=root.integer("size_bytes", 0),
        format_version=version,
    )
    root.done()
    return manifest


def _signal(data: dict[str, Any]) -> SignalSpec:
    fields = Fields("signal", data)
    for key in ("rate_hz", "unit"):
        fields.text(key)
    for key in ("window_samples", "hop_samples"):
        fields.integer(key, 1, MAX_WINDOW_SAMPLES)
    fields.number("settle_s")
    if "bridge_s" in data:
        fields.number("bridge_s")
    fields.items("sos")
    normalization = Fields("normalization", fields.mapping("normalization"))
    normalization.text("mode")
    for key in ("time_constant_s", "gain"):
        normalization.number(key)
    if normalization.optional_text("bound") is not None:
        normalization.number("limit")
    normalization.done()
    fields.done()
    try:
        spec = SignalSpec.from_json(data)
        exact = json.dumps(spec.to_json(), sort_keys=True) == json.dumps(data, sort_keys=True)
    except (SignalError, TypeError, ValueError) as error:
        raise ModelFileError(f"manifest: signal: {error}") from error
    if not exact:
        raise ModelFileError("manifest: signal is not a signal specification of this format version")
    return spec


def _targets(data: list[Any]) -> tuple[Target, ...]:
    if not 1 <= len(data) <= MAX_TARGETS:
        raise ModelFileError(f"manifest: there must be 1 to {MAX_TARGETS} targets")
    targets = []
    for item in data:
        if type(item) is not dict:
            raise ModelFileError("manifest: each target must be an object")
        fields = Fields("target", item)
        targets.append(Target(fields.text("name"), fields.texts("labels")))
        fields.done()
    check_texts("target names", (target.name for target in targets))
    counts = {len(target.labels) for target in targets}
    if len(counts) != 1 or not 2 <= counts.pop() <= MAX_CLASSES:
        raise ModelFileError(f"manifest: all targets must have the same number of labels, 2 to {MAX_CLASSES}")
    return tuple(targets)


def _training(fields: Fields) -> Training:
    high = _HIGH_RULES.get(fields.text("high"))
    if high is None:
        raise ModelFileError(f"manifest: training.high must be one of {', '.join(_HIGH_RULES)}")
    state = fields.optional_text("normalization_state")
    if state is not None and state not in _STATES:
        raise ModelFileError(f"manifest: training.normalization_state must be one of {', '.join(_STATES)}")
    training = Training(
        source=fields.text("source"),
        dataset=fields.text("dataset"),
        synthetic=fields.flag("synthetic"),
        train_subjects=fields.hashes("train_subjects"),
        validation_subjects=fields.hashes("validation_subjects"),
        test_subjects=fields.hashes("test_subjects"),
        threshold=fields.number("threshold"),
        high=high,
        window_hashes=fields.hashes("window_hashes"),
        normalization_state=None if state is None else _STATES[state],
    )
    fields.done()
    everyone = training.train_subjects + training.validation_subjects + training.test_subjects
    if len(set(everyone)) != len(everyone):
        raise ModelFileError("manifest: training, validation and test subjects overlap")
    return training


def _quantization(fields: Fields) -> Quantization:
    sides = []
    for key in ("input", "output"):
        side = Fields(f"quantization.{key}", fields.mapping(key))
        sides.append(TensorQuantization(side.positive("scale"), side.integer("zero_point", -128, 127)))
        side.done()
    fields.done()
    return Quantization(*sides)


def _calibration(fields: Fields) -> Calibration:
    calibration = Calibration(
        method=fields.text("method"),
        subjects=fields.hashes("subjects"),
        windows=fields.integer("windows", 1),
        seed=fields.integer("seed", 0),
        sha256=fields.text("sha256"),
    )
    fields.done()
    return calibration


def _signoff(data: dict[str, Any]) -> SignOff:
    """The sign-off; any of version 1 is "undecided", since that test passed models that harm a few people."""
    fields = Fields("signoff", data)
    max_drop = fields.number("max_drop")
    if "version" in data:
        version = fields.integer("version", 1)
        if version != SIGNOFF_VERSION:
            raise ModelFileError(
                f"manifest: signoff.version is {version}, and this ekd reads {SIGNOFF_VERSION}: upgrade with "
                "`pip install -U ekd`"
            )
        result = _RESULTS.get(fields.text("result"))
        if result is None:
            raise ModelFileError(f"manifest: signoff.result must be one of {', '.join(_RESULTS)}")
    else:
        fields.flag("passed")
        result = "undecided"
    fields.done()
    if not 0 <= max_drop <= 1:
        raise ModelFileError("manifest: signoff.max_drop must be between 0 and 1")
    return SignOff(max_drop, result)


def _check_hashed(figures: Any, name: str = "", depth: int = 0) -> None:
    """Reject a text under a key of subjects that is not a hash: a model file contains no names."""
    if depth > MAX_DEPTH:
        raise ModelFileError(f"manifest: evaluation is nested more than {MAX_DEPTH} deep")
    if isinstance(figures, dict):
        for key, value in figures.items():
            _check_hashed(value, key, depth + 1)
    elif isinstance(figures, list):
        for value in figures:
            _check_hashed(value, name, depth + 1)
    elif isinstance(figures, str) and name.endswith(("subject", "subjects")) and not is_subject_hash(figures):
        raise ModelFileError(f"manifest: evaluation names a subject under {name!r}: write its hash")
