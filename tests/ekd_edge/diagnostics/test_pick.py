"""The choice of a model, and the reasons against the others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ekd_edge.diagnostics.bench import Timing
from ekd_edge.diagnostics.pick import check_real, pick, shown_drop, why_not
from ekd_edge.errors import ConfigError
from ekd_edge.model.file import ModelFile, load_model_file
from ekd_edge.model.manifest import Manifest, SignOff

WriteModel = Callable[..., Path]
Model = Callable[..., ModelFile]


@pytest.fixture
def model(tmp_path: Path, write_model: WriteModel) -> Model:
    """model(name, **changes to the manifest): the file, loaded."""
    return lambda name, **changes: load_model_file(write_model(tmp_path / name, **changes))


def timing(model_file: ModelFile, threads: int, p50_ms: float) -> Timing:
    return Timing(model_file, threads, 200, p50_ms, None, p50_ms, 1.0, 1.0)


def figures(low: float, **worse: float) -> dict[str, Any]:
    """An evaluation whose intervals begin at `low`, except those of the targets that are named."""
    targets = []
    for name in ("arousal", "valence"):
        ends = {"low": worse.get(name, low), "high": 0.02}
        change = {"mean": 0.0, "subjects": 8, "student_t": {"low": 0.0, "high": 0.02}, "bootstrap": ends}
        targets.append({"target": name, "accuracy": change, "macro_f1": change})
    return {"verdict": {"max_drop": 0.01, "passed": True, "targets": targets}}


def dynamic(manifest: Manifest, signoff: SignOff | None, evaluation: dict[str, Any] | None = None) -> Manifest:
    return replace(manifest, kind="dynamic", recipe="dynamic", signoff=signoff, evaluation=evaluation)


def test_fastest_allowed_model_is_picked(model: Model) -> None:
    slow = model("float.tflite")
    fast = model("dynamic.tflite", kind="dynamic", recipe="dynamic", signoff=SignOff(0.01, True))
    refused = model("refused.tflite", kind="dynamic", recipe="dynamic", signoff=SignOff(0.01, False))
    never = model("never.tflite", kind="float16", recipe="float16")
    measured = [(slow, 1, 2.0), (fast, 1, 1.5), (fast, 2, 1.0), (refused, 1, 0.5), (never, 1, 0.4)]
    choice = pick([timing(*each) for each in measured])
    assert choice.picked == timing(fast, 2, 1.0)
    assert choice.reasons == {
        str(slow.path): "slower: p50 2.000 ms at best",
        str(refused.path): "refused sign-off for --max-drop 0.01",
        str(never.path): "never signed off",
    }


def test_tie_within_two_percent_goes_to_fewer_threads_then_the_smaller_file(model: Model) -> None:
    one = model("one.tflite")
    other = model("other.tflite")
    small = replace(other, manifest=replace(other.manifest, size_bytes=one.manifest.size_bytes - 1))
    assert pick([timing(one, 4, 1.0), timing(one, 1, 1.019), timing(one, 2, 1.01)]).picked == timing(one, 1, 1.019)
    assert pick([timing(one, 4, 1.0), timing(one, 1, 1.021)]).picked == timing(one, 4, 1.0)
    choice = pick([timing(one, 1, 1.0), timing(small, 1, 1.01)])
    assert choice.picked == timing(small, 1, 1.01)
    assert choice.reasons == {str(one.path): "as fast within 2 % (p50 1.000 ms), but with more threads or larger"}


def test_nothing_is_picked_without_an_allowed_model(model: Model) -> None:
    never = model("never.tflite", kind="dynamic", recipe="dynamic")
    choice = pick([timing(never, 1, 1.0), timing(never, 2, 1.0)], 0.5)
    assert choice.picked is None
    assert choice.reasons == {str(never.path): "never signed off"}


@pytest.mark.parametrize("max_drop", [None, 0.001, 0.5])
def test_float32_model_is_always_allowed(max_drop: float | None, gsr_manifest: Manifest) -> None:
    assert why_not(gsr_manifest, max_drop) is None


@pytest.mark.parametrize(
    ("signoff", "low", "max_drop", "words"),
    [
        (SignOff(0.01, True), None, None, None),
        (SignOff(0.01, True), None, 0.01, None),
        (SignOff(0.01, True), None, 0.02, None),
        (SignOff(0.01, True), None, 0.005, "signed off for --max-drop 0.01, and the file has no intervals"),
        (SignOff(0.01, True), -0.004, 0.005, None),
        (SignOff(0.01, True), -0.005, 0.005, None),
        (
            SignOff(0.01, True),
            -0.006,
            0.005,
            "may change by -0.60 points (lower end of the widest interval), and -0.50 is",
        ),
        (SignOff(0.01, True), 0.001, 0.0001, None),
        (SignOff(0.01, False), -0.012, None, "refused sign-off for --max-drop 0.01"),
        (SignOff(0.01, False), -0.012, 0.02, None),
        (SignOff(0.01, False), -0.012, 0.01, "may change by -1.20 points"),
        (SignOff(0.01, False), None, 0.02, "refused sign-off for --max-drop 0.01, and the file has no intervals"),
        (None, -0.001, None, "never signed off"),
        (None, -0.001, 0.01, "never signed off"),
    ],
)
def test_reason_against_a_model_depends_on_its_sign_off(
    signoff: SignOff | None, low: float | None, max_drop: float | None, words: str | None, gsr_manifest: Manifest
) -> None:
    reason = why_not(dynamic(gsr_manifest, signoff, None if low is None else figures(low)), max_drop)
    assert (reason is None) == (words is None)
    assert (words or "") in (reason or "")


def test_widest_interval_of_any_target_counts(gsr_manifest: Manifest) -> None:
    assert shown_drop(replace(gsr_manifest, evaluation=figures(-0.001, valence=-0.03))) == pytest.approx(0.03)
    assert shown_drop(replace(gsr_manifest, evaluation=figures(0.001))) == 0.0


@pytest.mark.parametrize(
    "evaluation",
    [
        None,
        {},
        {"verdict": None},
        {"verdict": {"targets": "arousal"}},
        {"verdict": {"targets": [None]}},
        {"verdict": {"targets": figures(0.0)["verdict"]["targets"][:1]}},
        {"verdict": {"targets": [{**each, "macro_f1": None} for each in figures(0.0)["verdict"]["targets"]]}},
        figures("wide"),  # type: ignore[arg-type]
        figures(float("nan")),
    ],
)
def test_missing_interval_shows_no_drop(evaluation: Any, gsr_manifest: Manifest) -> None:
    assert shown_drop(replace(gsr_manifest, evaluation=evaluation)) is None


def test_emulated_machine_is_refused() -> None:
    check_real(None)
    with pytest.raises(ConfigError, match=r"emulated \(qemu-user: why\).* run `ekd-edge bench --pick` on the board"):
        check_real("qemu-user: why")
