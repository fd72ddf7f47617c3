"""The report of an export as one HTML page that opens offline: verdict, model, data, figures and plots."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from ekd_edge.formatting import interval, origin, percent, points
from ekd_export.report.plots import layers_plot, logits_plot, reliability_plot, subjects_plot
from ekd_train.data.left_out import STATE_TITLES, describe_quality

__all__ = ["render_page"]

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1c1c1c;background:#fff;max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.1rem;margin:1.6rem 0 .4rem;border-bottom:1px solid #ccc}
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:600;vertical-align:top;width:40%}
td,th{padding:.25rem .6rem .25rem 0;border-bottom:1px solid #eee}svg{max-width:100%;height:auto}
h1{border-left:.5rem solid #8a8a8a;padding-left:.7rem}h1.passed{border-color:#2e7d32}h1.not-shown{border-color:#b00020}
.synthetic{background:#fff3cd;padding:.3rem .7rem}
.plots{display:flex;flex-wrap:wrap;gap:1rem}
"""


def render_page(report: Mapping[str, Any]) -> str:
    """Render the JSON report of `ekd_export.report.build.build_report`; the page loads nothing from elsewhere."""
    verdict = report["verdict"]
    title = f"ekd sign-off: {_headline(verdict)}"
    body = "\n".join(_body(report))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def _body(report: Mapping[str, Any]) -> Iterator[str]:
    verdict, suffix = report["verdict"], origin(report["synthetic"])
    yield f'<h1 class="{verdict["result"].replace(" ", "-")}">{escape(_headline(verdict) + suffix)}</h1>'
    if report["synthetic"]:
        yield '<p class="synthetic"><strong>SYNTHETIC DATA:</strong> no person was measured.</p>'
    if verdict["reasons"]:
        yield "<ul>" + "".join(f"<li>{escape(reason)}</li>" for reason in verdict["reasons"]) + "</ul>"
    yield "<h2>The model</h2>" + _table(_model_rows(report))
    yield "<h2>The data</h2>" + _table(_data_rows(report))
    for target in verdict["targets"]:
        yield f"<h2>{escape(target['target'])}{escape(suffix)}</h2>"
        yield _table(_target_rows(target, verdict["class_names"]))
        yield '<div class="plots">'
        yield subjects_plot(target, verdict["max_drop"], suffix)
        yield reliability_plot(target, suffix)
        if "logits" in target:
            yield logits_plot(target, suffix)
        yield "</div>"
    if report["layer_errors"]:
        yield "<h2>Quantization error by layer</h2>" + layers_plot(report["layer_errors"], suffix)
    named = "; ".join(f"{key}: {text}" for key, text in verdict["intervals"].items())
    yield f"<p><small>Intervals are 95 %. {escape(named)}. Made by {escape(report['made_by'])}.</small></p>"


def _headline(verdict: Mapping[str, Any]) -> str:
    if verdict["passed"] is None:
        return "not judged: no allowed loss was set (--max-drop)"
    allowed = f"{100 * verdict['max_drop']:g} {'point' if verdict['max_drop'] == 0.01 else 'points'}"
    return f"PASSED: within {allowed}" if verdict["passed"] else f"NOT SHOWN to be within {allowed}"


def _model_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "student, recipe", f"{report['student']}, {report['recipe']} ({report['kind']})"
    yield "size", f"{report['size_bytes'] / 1000:.1f} kB, {sum(report['audit']['operations'].values())} operations"
    arena = report["arena_bytes"]
    yield "arena in TFLite Micro", "not measured" if arena is None else f"{arena / 1024:.1f} KiB"
    latency = report["latency"]
    p99 = "not measured" if latency["p99_ms"] is None else f"{latency['p99_ms']:.3f} ms"
    yield "latency", f"p50 {latency['p50_ms']:.3f} ms, p99 {p99}; {latency['runs']} runs on {latency['machine']}"
    yield "SHA-256 of the flatbuffer", report["sha256"]
    if report["validation"] is not None:
        yield "choice of recipe", f"{report['validation']['chosen']}: {report['validation']['why']}"


def _data_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "data", report["data"]["source"] + origin(report["synthetic"])
    subjects, windows = report["subjects"], report["windows"]
    yield "subjects", ", ".join(f"{subjects[group]} {group}" for group in ("training", "validation", "test"))
    yield "windows", ", ".join(f"{windows[group]} {group}" for group in ("calibration", "validation", "test"))
    yield "signal quality", describe_quality(report["signal_quality"])
    yield "running mean of the normalization", STATE_TITLES[report["normalization_state"]]
    for target, share in report["validation_agreement"].items():
        yield f"{target}: same class on validation windows", percent(share)


def _target_rows(target: Mapping[str, Any], names: list[str]) -> Iterator[tuple[str, str]]:
    for score, label in (("accuracy", "accuracy"), ("macro_f1", "macro-F1")):
        change = target[score]
        if change is None:
            yield label, "cannot be judged: no subject has windows of every class"
            continue
        values = f"{percent(target[f'{score}_before'])} before, {percent(target[f'{score}_after'])} after"
        yield label, f"{values}; change {points(change['mean'])} points, {change['subjects']} subjects"
        for key, method in (("student_t", "Student's t"), ("bootstrap", "bootstrap")):
            ends = change[key]
            text = "none for one subject" if ends is None else f"{interval(ends['low'], ends['high'])} points"
            yield f"{label}, 95 % interval, {method}", text
    flips, classes, worst = target["flips"], target["classes"], target["worst"]
    yield "same class as the float student", f"{percent(target['agreement'])} of {target['windows']} windows"
    yield (
        "McNemar",
        f"{flips['broken']} windows broken, {flips['repaired']} repaired (p = {flips['p']:.2g}, descriptive: windows "
        "of one subject are not independent)",
    )
    for key, label in (("labels", "labels"), ("before", "predicted before"), ("after", "predicted after")):
        counts = zip(classes[key], names, strict=True)
        yield f"class balance, {label}", ", ".join(f"{count} {name}" for count, name in counts)
    before, after = target["reliability_before"]["ece"], target["reliability_after"]["ece"]
    yield "calibration error (ECE)", f"{percent(before)} before, {percent(after)} after"
    sqnr = target["output_sqnr_db"]
    yield "output SQNR", "exact" if sqnr is None else f"{sqnr:.1f} dB"
    drop = worst["accuracy_after"] - worst["accuracy_before"]
    values = f"{percent(worst['accuracy_before'])} to {percent(worst['accuracy_after'])}"
    yield "worst subject", f"{points(drop)} points of accuracy ({values}, {worst['windows']} windows)"
    if target["one_class_subjects"]:
        yield "not in macro-F1", f"{target['one_class_subjects']} subjects whose labels lack a class"


def _table(rows: Iterator[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"
