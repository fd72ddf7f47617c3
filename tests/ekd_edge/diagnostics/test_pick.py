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


def figures(shown_within: Any) -> dict[str, Any]:
    """An evaluation that shows the change to be within this share."""
    return {"verdict": {"max_drop": 0.01, "result": "passed", "shown_within": shown_within}}


def dynamic(manifest: Manifest, signoff: SignOff | None, evaluation: dict[str, Any] | None = None) -> Manifest:
    return replace(manifest, kind="dynamic", recipe="dynamic", signoff=signoff, evaluation=evaluation)


def test_fastest_allowed_model_is_picked(model: Model) -> None:
    slow = model("float.tflite")
    fast = model("dynamic.tflite", kind="dynamic", recipe="dynamic", signoff=SignOff(0.01, "passed"))
    refused = model("refused.tflite", kind="dynamic", recipe="dynamic", signoff=SignOff(0.01, "failed"))
    never = model("never.tflite", kind="float16", recipe="float16")
    measured = [(slow, 1, 2.0), (fast, 1, 1.5), (fast, 2, 1.0), (refused, 1, 0.5), (never, 1, 0.4)]
    choice = pick([timing(*each) for each in measured])
    assert choice.picked == timing(fast, 2, 1.0)
    assert choice.reasons == {
        str(slow.path): "slower: p50 2.000 ms at best",
        str(refused.path): "sign-off FAILED for --max-drop 0.01",
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
    ("signoff", "shown", "max_drop", "words"),
    [
        (SignOff(0.01, "passed"), None, None, None),
        (SignOff(0.01, "passed"), None, 0.01, None),
        (SignOff(0.01, "passed"), None, 0.02, None),
        (
            SignOff(0.01, "passed"),
            None,
            0.005,
            "PASSED for --max-drop 0.01, and the file shows no other limit",
        ),
        (SignOff(0.01, "passed"), 0.004, 0.005, None),
        (SignOff(0.01, "passed"), 0.005, 0.005, None),
        (SignOff(0.01, "passed"), 0.006, 0.005, "is shown to change by at most 0.6 points, and 0.5 is allowed"),
        (SignOff(0.01, "undecided"), 0.012, None, "sign-off UNDECIDED for --max-drop 0.01"),
        (SignOff(0.01, "undecided"), 0.012, 0.02, None),
        (SignOff(0.01, "failed"), 0.012, 0.01, "is shown to change by at most 1.2 points"),
        (SignOff(0.01, "failed"), None, 0.02, "sign-off FAILED for --max-drop 0.01, and the file shows no other limit"),
        (None, 0.001, None, "never signed off"),
        (None, 0.001, 0.01, "never signed off"),
    ],
)
def test_reason_against_a_model_depends_on_its_sign_off(
    signoff: SignOff | None, shown: float | None, max_drop: float | None, words: str | None, gsr_manifest: Manifest
) -> None:
    reason = why_not(dynamic(gsr_manifest, signoff, None if shown is None else figures(shown)), max_drop)
    assert (reason is None) == (words is None)
    assert (words or "") in (reason or "")


@pytest.mark.parametrize(
    "evaluation",
    [
        None,
        {},
        {"verdict": None},
        {"verdict": []},
        {"verdict": {"targets": "arousal"}},
        *map(figures, ("wide", None, 1, True, 0.0, -0.1, 2.0, float("nan"))),
    ],
)
def test_unusable_limit_shows_nothing(evaluation: Any, gsr_manifest: Manifest) -> None:
    assert shown_drop(replace(gsr_manifest, evaluation=evaluation)) is None


def test_emulated_machine_is_refused() -> None:
    check_real(None)
    with pytest.raises(ConfigError, match=r"emulated \(qemu-user: why\).* run `ekd-edge bench --pick` on the board"):
        check_real("qemu-user: why")
