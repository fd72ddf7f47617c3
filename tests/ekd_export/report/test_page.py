"""The HTML page of an export report: complete, offline, and without names of subjects."""

from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from ekd_export.evaluation.signoff import judge
from ekd_export.report.html import render_page

VOID = {"meta", "br", "hr", "img", "link"}


def report(max_drop: float | None, **changes: Any) -> dict[str, Any]:
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 2, (240, 1))
    before = generator.normal(size=(240, 1, 2)).astype(np.float32)
    after = before + generator.normal(scale=0.3, size=before.shape).astype(np.float32)
    subjects = np.repeat([f"{number:016x}" for number in range(6)], 40)
    verdict = judge(["arousal"], labels, subjects, before, after, max_drop)
    layer = {"name": "a/b", "operation": "ADD 1", "sqnr_db": 20.0, "lost_db": None, "rmse": 0.1, "share_saturated": 0.0}
    made: dict[str, Any] = {
        "made_by": "ekd 0", "synthetic": True, "kind": "int8", "recipe": "static", "student": "edge", "sha256": "ab",
        "size_bytes": 70000, "audit": {"operations": {"ADD": 3}}, "data": {"source": "<script>alert(1)</script>"},
        "subjects": {"training": 3, "validation": 2, "test": 6},
        "windows": {"calibration": 9, "validation": 5, "test": 240}, "validation_agreement": {"arousal": 0.98},
        "signal_quality": {"keep_bad_windows": False, "sides": {"test": {"left_out": 12, "windows": 345}}},
        "normalization_state": "carried",
        "validation": {"chosen": "static", "why": "because"}, "verdict": verdict.to_json(), "arena_bytes": None,
        "latency": {"p50_ms": 0.1, "p99_ms": None, "runs": 30, "machine": "a machine"}, "layer_errors": [layer, layer],
    }  # fmt: skip
    return {**made, **changes}


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
    assert not [each["subject"] for each in made["verdict"]["targets"][0]["subjects"] if each["subject"] in text]


@pytest.mark.parametrize(("max_drop", "verdict"), [(None, "not judged"), (0.5, "PASSED"), (0.0001, "NOT SHOWN")])
def test_verdict_is_the_headline(max_drop: float | None, verdict: str) -> None:
    made = report(max_drop)
    text = render_page(made)
    first = text[text.index("<h1") : text.index("</h1>")]
    assert verdict in first
    assert "[synthetic data]" in first
    assert all(reason in text.replace("&#x27;", "'") for reason in made["verdict"]["reasons"])
    assert bool(made["verdict"]["reasons"]) == (verdict == "NOT SHOWN")


def test_missing_figures_are_marked_not_measured() -> None:
    words = " ".join(Page(render_page(report(None))).words)
    assert "arena in TFLite Micro not measured" in words
    assert "p99 not measured" in words
    assert "SYNTHETIC DATA" in words
    assert "McNemar" in words
    page = render_page(report(None, synthetic=False, layer_errors=None))
    assert "synthetic data" not in page
    assert "error by layer" not in page


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
