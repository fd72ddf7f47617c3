"""The HTML page of an export report: complete, offline, and without names of subjects."""

from html import escape
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from ekd_export.evaluation.advice import advice
from ekd_export.evaluation.signoff import judge
from ekd_export.report import html

NAME = "student-int8.tflite"
VOID = {"meta", "br", "hr", "img", "link"}


def report(max_drop: float | None, **changes: Any) -> dict[str, Any]:
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 2, (240, 1))
    before = generator.normal(size=(240, 1, 2)).astype(np.float32)
    after = before + generator.normal(scale=0.3, size=before.shape).astype(np.float32)
    subjects = np.repeat([f"{number:016x}" for number in range(6)], 40)
    verdict = judge(["arousal"], labels, subjects, before, after, max_drop)
    latency = {"p50_ms": 0.1, "p99_ms": None, "runs": 30, "machine": "a machine"}
    temperature = {
        "target": "arousal", "value": 1.25, "why_not": None, "ece_before": 0.08, "ece_after": 0.02,
        "ece_test_before": 0.09, "ece_test_after": 0.03,
    }  # fmt: skip
    layer = {"name": "a/b", "operation": "ADD 1", "sqnr_db": 20.0, "lost_db": None, "rmse": 0.1, "share_saturated": 0.0}
    made: dict[str, Any] = {
        "made_by": "ekd 0", "synthetic": True, "kind": "int8", "recipe": "static", "student": "edge", "sha256": "ab",
        "size_bytes": 70000, "audit": {"operations": {"ADD": 3}}, "data": {"source": "<script>alert(1)</script>"},
        "subjects": {"training": 3, "validation": 2, "test": 6},
        "windows": {"calibration": 9, "validation": 5, "test": 240}, "validation_agreement": {"arousal": 0.98},
        "signal_quality": {"keep_bad_windows": False, "sides": {"test": {"left_out": 12, "windows": 345}}},
        "normalization_state": "carried",
        "validation": {"chosen": "static", "why": "because"}, "verdict": verdict.to_json(), "arena_bytes": None,
        "latency": latency, "layer_errors": [layer, layer],
        "float_latency": {**latency, "p50_ms": 0.05, "p99_ms": 0.06}, "float_size_bytes": 150000,
        "temperatures": [temperature], "training_report": {"accuracy": 0.6, "hop_s": 4.0, "device_hop_s": 1.0},
        "advice": list(advice(verdict, "static")), "run": "first", "made_at": "2026-01-02T03:04:05+00:00",
        "versions": {"torch": "2.0", "numpy": None},
    }  # fmt: skip
    return {**made, **changes}


def render_page(made: dict[str, Any]) -> str:
    return html.render_page(made, NAME)


class Page(HTMLParser):
    """Checks that tags are balanced and gathers attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_page_loads_nothing_and_names_no_subject() -> None:
    made = report(0.0001)
    text = render_page(made)
    page = Page(text)
    for name, value in page.attributes:
        assert name not in ("src", "action")
        assert "script" not in name
        if name in ("href", "xlink:href"):
            assert value is not None
            assert value.startswith("#")
        elif not name.startswith("xmlns"):
            assert "http" not in (value or "")
    assert "<script" not in text
    target = made["verdict"]["targets"][0]
    shown = {each["subject"] for each in target["subjects"] if each["subject"] in text}
    assert shown <= {target["worst"]["subject"], target["disagreement"]["worst_subject"]}, "only hashes of the worst"


@pytest.mark.parametrize(("max_drop", "verdict"), [(None, "not judged"), (0.5, "PASSED"), (0.01, "UNDECIDED")])
def test_verdict_is_the_headline(max_drop: float | None, verdict: str) -> None:
    made = report(max_drop)
    text = render_page(made)
    first = text[text.index("<h1") : text.index("</h1>")]
    assert verdict in first
    assert "[synthetic data]" in first
    assert all(escape(reason) in text for reason in made["verdict"]["reasons"])
    assert bool(made["verdict"]["reasons"]) == (verdict == "UNDECIDED")
    assert ("What to try" in text) == bool(made["advice"]) == bool(made["verdict"]["reasons"])
    assert all(escape(each) in text for each in made["advice"])


def test_page_says_where_the_file_comes_from() -> None:
    text = render_page(report(0.01))
    for words in (
        NAME,
        "first",
        "2026-01-02T03:04:05+00:00",
        "ekd 0; torch 2.0; numpy not installed",
        "no key at export",
    ):
        assert words in text
    assert "<td>the key ab</td>" in render_page(report(0.01, signer="the key ab"))


def test_float_and_quantized_stand_side_by_side() -> None:
    words = " ".join(Page(render_page(report(0.01))).words)
    assert "70.0 kB int8, 150.0 kB float32" in words
    assert "p50 0.100 ms int8; p50 0.050 ms, p99 0.060 ms float32" in words
    assert "int8 is 2.0 times slower than float32 on this processor" in words
    assert "always the larger class accuracy 5" in words
    assert "ekd-train reported 60.0%" in words
    assert "a window every 4 s, and this report takes one every 1 s" in words
    same = {"accuracy": 0.6, "hop_s": 1.0, "device_hop_s": 1.0}
    assert "on the same windows: the run's student was replaced" in " ".join(
        Page(render_page(report(0.01, training_report=same))).words
    )


def test_page_fits_narrow_and_dark_screens_and_explains_its_terms() -> None:
    text = render_page(report(0.01))
    assert "@media (max-width:480px)" in text
    assert "@media (prefers-color-scheme:dark)" in text
    assert 'name="viewport"' in text
    for term in ("UNDECIDED", "ECE", "SQNR", "e-value", "always the larger class"):
        assert f"<dt>{term}</dt>" in text


def test_missing_figures_are_marked_not_measured() -> None:
    words = " ".join(Page(render_page(report(None))).words)
    assert "arena in TFLite Micro not measured" in words
    assert "SYNTHETIC DATA" in words
    assert "McNemar" in words
    page = render_page(report(None, synthetic=False, layer_errors=None))
    assert "synthetic data" not in page
    assert "error by layer" not in page


def test_title_of_a_model_that_is_not_quantized_asks_for_no_sign_off() -> None:
    text = render_page(report(None, float_latency=None, kind="float32", recipe="float32"))
    assert "--max-drop" not in text
    assert f"<title>{NAME}: edge student, not quantized</title>" in text


def test_plot_of_subjects_shows_the_allowance_either_way() -> None:
    from ekd_export.report.plots import WARNING, subjects_plot

    target = report(0.01)["verdict"]["targets"][0]
    lines = [subjects_plot(target, drop, "").count(f"stroke: {WARNING}") for drop in (None, 0.01)]
    assert lines[1] - lines[0] == 3  # two lines and the legend's


def test_page_counts_the_windows_left_out_for_signal_quality() -> None:
    words = " ".join(Page(render_page(report(0.01))).words)
    assert "left out for signal quality: 12 of 345 windows (3.5%): test 12 of 345 (3.5%)" in words
    assert "carried from trial to trial" in words


def test_page_is_deterministic() -> None:
    assert render_page(report(0.01)) == render_page(report(0.01))


def test_layer_plot_marks_exact_operations_and_synthetic_data() -> None:
    base = {"name": "a", "operation": "ADD 1", "lost_db": None, "share_saturated": 0.0}
    layers = [base | {"sqnr_db": None, "rmse": 0.0}, base | {"sqnr_db": None, "rmse": 0.1}]
    text = render_page(report(None, layer_errors=layers))
    assert text.count("<!-- exact -->") == 1
    assert text.count("<!-- no signal -->") == 1
    assert "Quantization noise by operation [synthetic data]" in text
