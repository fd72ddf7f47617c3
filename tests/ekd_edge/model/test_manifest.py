import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.errors import ModelFileError
from ekd_edge.model.manifest import (
    FORMAT_VERSION,
    Calibration,
    Manifest,
    NormalizationState,
    Quantization,
    SignOff,
    Target,
    TensorQuantization,
)
from ekd_edge.model.manifest_json import encode_manifest, parse_manifest
from ekd_edge.model.subject_hash import hash_subject, hash_subjects

QUANTIZATION = Quantization(TensorQuantization(0.03125, -3), TensorQuantization(0.1, 12))
CALIBRATION = Calibration("min-max", (hash_subject("synthetic-test", "s1"),), 512, 7, "ab" * 32)

names = st.text(st.characters(categories=("L", "N", "P", "Zs"), include_characters=" "), min_size=1).filter(
    str.isprintable
)


@pytest.fixture
def int8_manifest(gsr_manifest: Manifest) -> Manifest:
    evaluation = {"synthetic": True, "arousal": {"accuracy": 0.5, "n": [1, 2]}, "worst_subject": "0123456789abcdef"}
    return replace(
        gsr_manifest,
        kind="int8",
        recipe="static",
        quantization=QUANTIZATION,
        calibration=CALIBRATION,
        signoff=SignOff(0.01, "passed"),
        evaluation=evaluation,
    )


def test_encoding_and_parsing_are_inverses(gsr_manifest: Manifest, int8_manifest: Manifest) -> None:
    other_rule = replace(gsr_manifest, training=replace(gsr_manifest.training, high="at-or-above"))
    others = [replace(gsr_manifest, kind=kind, recipe=kind, student="edge") for kind in ("dynamic", "float16")]
    refused = replace(int8_manifest, recipe="qat", signoff=SignOff(0.0, "failed"))
    for manifest in (gsr_manifest, int8_manifest, other_rule, *others, refused):
        assert parse_manifest(encode_manifest(manifest)) == manifest


def test_sign_off_of_version_1_is_undecided(int8_manifest: Manifest) -> None:
    for passed in (True, False):
        data = int8_manifest.to_json() | {"signoff": {"max_drop": 0.01, "passed": passed}}
        assert parse_manifest(json.dumps(data).encode()).signoff == SignOff(0.01, "undecided")


@given(people=st.lists(names, min_size=3, max_size=9, unique=True), labels=st.lists(names, min_size=2, unique=True))
def test_names_of_any_characters_survive_the_json(gsr_manifest: Manifest, people: list[str], labels: list[str]) -> None:
    training = replace(
        gsr_manifest.training,
        train_subjects=hash_subjects("d", people[:-2]),
        validation_subjects=hash_subjects("d", people[-2:-1]),
        test_subjects=hash_subjects("d", people[-1:]),
    )
    manifest = replace(gsr_manifest, training=training, targets=(Target("t", tuple(labels[:60])),))
    assert parse_manifest(encode_manifest(manifest)) == manifest


@pytest.mark.parametrize(
    ("state", "source", "restarted"),
    [
        ("restarted", "synthetic", True),
        ("carried", "deap:DEAP", False),
        (None, "deap:DEAP?gsr=ohm", True),
        (None, "hci:Sessions", True),
        (None, "recordings:deap", False),
    ],
)
def test_normalization_state_defaults_to_that_of_earlier_versions(
    gsr_manifest: Manifest, state: NormalizationState | None, source: str, restarted: bool
) -> None:
    training = replace(gsr_manifest.training, normalization_state=state, source=source)
    read = parse_manifest(encode_manifest(replace(gsr_manifest, training=training)))
    assert read.training.normalization_state == state
    assert read.training.restarted is restarted


def test_normalization_state_may_be_absent(gsr_manifest: Manifest) -> None:
    data = json.loads(encode_manifest(gsr_manifest))
    del data["training"]["normalization_state"]
    assert parse_manifest(json.dumps(data).encode()) == gsr_manifest


def test_seen_subjects_are_those_of_training_and_validation(gsr_manifest: Manifest) -> None:
    assert gsr_manifest.training.seen_subjects == {hash_subject("synthetic-test", name) for name in ("s1", "s2")}


def test_json_names_no_subject(gsr_manifest: Manifest) -> None:
    named = replace(gsr_manifest.training, test_subjects=("anna",))
    with pytest.raises(ModelFileError, match=r"test_subjects must hold hashes"):
        encode_manifest(replace(gsr_manifest, training=named))
    for figures in ({"a": {"subject": "anna"}}, {"worst_subject": "anna"}, {"test_subjects": [["anna"]]}):
        with pytest.raises(ModelFileError, match="evaluation names a subject"):
            encode_manifest(replace(gsr_manifest, evaluation=figures))


def _set(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        place: Any = data
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_set("format_version", to=FORMAT_VERSION + 1), "newer ekd.*upgrade"),
        (_set("format_version", to=1), "older ekd.*export the run again"),
        (_set("format_version", to=True), "format_version"),
        (_set("format_version", to=0), "format_version"),
        (_set("kind", to="int4"), "kind"),
        (_set("kind", to="float32"), "belong to kind int8"),
        (_set("kind", to="dynamic"), "belong to kind int8"),
        (_set("recipe", to=""), "recipe"),
        (_set("recipe", to="../static"), "recipe"),
        (_set("student", to=None), "student"),
        (_set("student", to="Paper!"), "student"),
        (_set("signoff", to=True), "signoff"),
        (_set("signoff", to={}), "max_drop"),
        (_set("signoff", "max_drop", to=1.5), "max_drop"),
        (_set("signoff", "max_drop", to=-0.5), "max_drop"),
        (_set("signoff", "result", to="good"), "result must be one of passed, failed, undecided"),
        (_set("signoff", "version", to=3), "version is 3"),
        (_set("signoff", "surprise", to=1), "unknown fields: surprise"),
        (_set("surprise", to=1), "unknown fields: surprise"),
        (_set("signal", "surprise", to=1), "signal"),
        (_set("signal", "rate_hz", to="0"), "signal"),
        (_set("signal", "bridge_s", to="0.5"), "signal"),
        (_set("signal", "bridge_s", to=1e9), "signal"),
        (_set("signal", "bridge_s", to=-0.5), "signal"),
        (_set("signal", "bridge_s", to=0.0), "signal"),
        (_set("signal", "window_samples", to=64.0), "signal"),
        (_set("signal", "window_samples", to=1 << 40), "signal"),
        (_set("signal", "sos", to=[[1, 0, 0, 2, 0, 0]]), "signal"),
        (_set("targets", to=[]), "targets"),
        (_set("targets", 0, "labels", to=["low"]), "labels"),
        (_set("targets", 0, "labels", to=["low", "low"]), "twice"),
        (_set("targets", 0, "labels", to=["a", "b", "c"]), "same number of labels"),
        (_set("targets", 0, "name", to="valence"), "twice"),
        (_set("targets", 0, "name", to="\x1b[2J"), "control"),
        (_set("training", "synthetic", to=1), "synthetic"),
        (_set("training", "threshold", to=5), "threshold"),
        (_set("training", "high", to="below"), "high must be one of above, at-or-above"),
        (_set("training", "high", to=None), "high"),
        (_set("training", "normalization_state", to="fresh"), "normalization_state must be one of carried, restarted"),
        (_set("training", "normalization_state", to=1), "normalization_state"),
        (_set("training", "test_subjects", to=[hash_subject("synthetic-test", "s1")]), "overlap"),
        (_set("training", "test_subjects", to="s3"), "list"),
        (_set("quantization", "input", "scale", to=0.0), "above zero"),
        (_set("quantization", "input", "scale", to=-1.0), "above zero"),
        (_set("quantization", "output", "zero_point", to=128), "zero_point"),
        (_set("quantization", to=None), "belong to kind int8"),
        (_set("calibration", "windows", to=0), "windows"),
        (_set("calibration", "subjects", to=["anna"]), "hashes"),
        (_set("evaluation", to=[]), "evaluation"),
        (_set("size_bytes", to="1"), "size_bytes"),
    ],
)
def test_invalid_fields_are_refused(
    int8_manifest: Manifest, change: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    data = json.loads(encode_manifest(int8_manifest))
    change(data)
    with pytest.raises(ModelFileError, match=complaint):
        parse_manifest(json.dumps(data).encode())


def test_missing_field_is_refused(int8_manifest: Manifest) -> None:
    data = json.loads(encode_manifest(int8_manifest))
    for name in data:
        with pytest.raises(ModelFileError):
            parse_manifest(json.dumps({key: value for key, value in data.items() if key != name}).encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        '{"kind": "int8", "kind": "int8"}',
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": Infinity}',
        "\ud800",
    ],
)
def test_invalid_json_is_refused(text: str) -> None:
    with pytest.raises(ModelFileError):
        parse_manifest(text.encode(errors="surrogatepass"))


def test_deep_nesting_is_refused(gsr_manifest: Manifest) -> None:
    with pytest.raises(ModelFileError):
        parse_manifest(b'{"evaluation": ' + b"[" * 100_000)
    encoded = encode_manifest(gsr_manifest)
    for depth in (40, 400, 900):
        nested = b'"evaluation": {"a": ' + b"[" * depth + b"]" * depth + b"}"
        with pytest.raises(ModelFileError, match=r"deep|JSON"):
            parse_manifest(encoded.replace(b'"evaluation": null', nested))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_figures_that_json_cannot_hold_are_refused(gsr_manifest: Manifest, value: object) -> None:
    with pytest.raises(ModelFileError, match="JSON"):
        encode_manifest(replace(gsr_manifest, evaluation={"accuracy": value}))
