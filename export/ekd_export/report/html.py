"""The report of an export as one HTML page that opens offline: verdict, model, data, figures, plots and a glossary."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from ekd_edge.formatting import interval, origin, percent, points
from ekd_export.report.plots import layers_plot, logits_plot, reliability_plot, subjects_plot
from ekd_export.report.wording import headline, side_by_side, speed_note, training_note
from ekd_train.data.left_out import STATE_TITLES, describe_quality

__all__ = ["render_page"]

_STYLE = """
:root{color-scheme:light dark;--text:#1c1c1c;--back:#fff;--line:#ddd;--mark:#fff3cd;--good:#2e7d32;--bad:#b00020;
--open:#b26a00;--none:#8a8a8a}
@media (prefers-color-scheme:dark){:root{--text:#e6e6e6;--back:#161616;--line:#3a3a3a;--mark:#4a3b00;--good:#66bb6a;
--bad:#ff6b7d;--open:#ffb74d}svg{background:#fff;border-radius:4px}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;color:var(--text);background:var(--back);max-width:60rem;margin:0 auto;
padding:1rem;overflow-wrap:anywhere}
h1{font-size:1.4rem;margin:.2rem 0;border-left:.5rem solid var(--none);padding-left:.7rem}
h1.passed{border-color:var(--good)}h1.failed{border-color:var(--bad)}h1.undecided{border-color:var(--open)}
h2{font-size:1.1rem;margin:1.6rem 0 .4rem;border-bottom:1px solid var(--line)}
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:600;vertical-align:top;width:40%}
td,th{padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line)}
dt{font-weight:600}dd{margin:0 0 .4rem 1rem}svg{max-width:100%;height:auto}
.synthetic{background:var(--mark);padding:.3rem .7rem}.plots{display:flex;flex-wrap:wrap;gap:1rem}
@media (max-width:480px){table,tbody,tr,th,td{display:block;width:auto}th{border:0;padding-bottom:0}
.plots{display:block}.plots svg{margin:.4rem 0}}
"""

_GLOSSARY = {
    "PASSED": "the change of accuracy and macro-F1 is shown to be within the allowance, either way",
    "FAILED": "a change of accuracy, macro-F1 or classes beyond the allowance is shown",
    "UNDECIDED": "neither is shown: too few people, or too large a spread between them",
    "accuracy": "share of a person's windows with the right class; the mean is over people",
    "always the larger class": "accuracy of predicting the same class for every window, the better of the two",
    "macro-F1": "mean over the classes of the harmonic mean of precision and recall",
    "same class, agreement": "share of windows that get the class of the float student; it needs no labels",
    "margin": "the difference of the two logits; its sign is the class, and windows near zero change it first",
    "SQNR": "signal to quantization noise ratio in decibels; 20 dB is an error of a tenth",
    "ECE": "expected calibration error: mean gap between confidence and accuracy",
    "temperature": "the number that logits are divided by, so that confidence fits accuracy; no class changes",
    "e-value": "evidence against a mean change beyond the allowance; 40 is reached in at most 1 of 40 cases by chance",
}


def render_page(report: Mapping[str, Any], file_name: str) -> str:
    """Render the JSON report of `ekd_export.report.build.build_report`; the page loads nothing from elsewhere.

    file_name: of the model file.
    """
    title = f"{file_name}: {_title(report)}"
    body = "\n".join(_body(report, file_name))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def _title(report: Mapping[str, Any]) -> str:
    """The verdict; of a model that is not quantized, its student."""
    quantized = report["float_latency"] is not None
    return headline(report["verdict"]) if quantized else f"{report['student']} student, not quantized"


def _body(report: Mapping[str, Any], file_name: str) -> Iterator[str]:
    verdict, suffix = report["verdict"], origin(report["synthetic"])
    yield f'<h1 class="{verdict["result"].replace(" ", "-")}">{escape(_title(report) + suffix)}</h1>'
    if report["synthetic"]:
        yield '<p class="synthetic"><strong>SYNTHETIC DATA:</strong> no person was measured.</p>'
    yield _list(verdict["reasons"])
    if report["advice"]:
        yield "<h2>What to try</h2>" + _list(report["advice"])
    yield "<h2>The file</h2>" + _table(_file_rows(report, file_name))
    yield "<h2>The model</h2>" + _table(_model_rows(report))
    yield "<h2>The data</h2>" + _table(_data_rows(report))
    for target, temperature in zip(verdict["targets"], report["temperatures"], strict=True):
        yield f"<h2>{escape(target['target'])}{escape(suffix)}</h2>"
        yield _table(_target_rows(target, verdict, temperature))
        yield '<div class="plots">'
        yield subjects_plot(target, verdict["max_drop"], suffix)
        yield reliability_plot(target, suffix)
        if "logits" in target:
            yield logits_plot(target, suffix)
        yield "</div>"
    if report["layer_errors"]:
        yield "<h2>Quantization error by layer</h2>" + layers_plot(report["layer_errors"], suffix)
    terms = {**_GLOSSARY, **{key: f"method: {text}" for key, text in verdict["methods"].items()}}
    yield (
        "<h2>Glossary</h2><dl>"
        + "".join(f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in terms.items())
        + "</dl>"
    )


def _file_rows(report: Mapping[str, Any], file_name: str) -> Iterator[tuple[str, str]]:
    yield "file", file_name
    yield "run", report["run"]
    yield "date", report["made_at"]
    versions = "; ".join(f"{name} {version or 'not installed'}" for name, version in report["versions"].items())
    yield "versions", f"{report['made_by']}; {versions}"
    yield "signed by", report.get("signer") or "no key at export: `ekd-export sign` writes a signed copy"
    yield "SHA-256 of the flatbuffer", report["sha256"]


def _model_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "student, recipe", f"{report['student']}, {report['recipe']} ({report['kind']})"
    yield "operations", str(sum(report["audit"]["operations"].values()))
    yield from side_by_side(report)
    if note := speed_note(report):
        yield "speed on this processor", note
    arena = report["arena_bytes"]
    yield "arena in TFLite Micro", "not measured" if arena is None else f"{arena / 1024:.1f} KiB"
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
    if note := training_note(report):
        yield "accuracy in training", note


def _target_rows(
    target: Mapping[str, Any], verdict: Mapping[str, Any], temperature: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    for score, label in (("accuracy", "accuracy"), ("macro_f1", "macro-F1")):
        change = target[score]
        if change is None:
            yield label, "cannot be judged: no test subject has windows of every class"
            continue
        values = f"{percent(target[f'{score}_before'])} float, {percent(target[f'{score}_after'])} this file"
        yield label, f"{values}; change {points(change['mean'])} points, {change['subjects']} test subjects"
        ends = change["low"], change["high"]
        yield f"{label}, 95 % interval", "none for one subject" if None in ends else f"{interval(*ends)} points"
    yield "always the larger class", f"accuracy {percent(target['larger_class_accuracy'])}"
    found, worst, margin = target["disagreement"], target["worst"], target["margin"]
    yield "same class as the float student", f"{percent(target['agreement'])} of {target['windows']} test windows"
    limit = verdict["disagreement_limit"]
    needed = "" if limit is None else f", and every subject needs {percent(1 - limit)} or more"
    yield (
        f"same class, all {found['subjects']} subjects",
        f"{percent(1 - found['mean'])} on average; {percent(1 - found['worst'])} for the worst, "
        f"{found['worst_subject']}{needed}; at most {percent(found['beyond_worst'])} of people can be worse",
    )
    sqnr = "exact" if margin["sqnr_db"] is None else f"SQNR {margin['sqnr_db']:.1f} dB"
    yield (
        "margin",
        f"{sqnr}, mean error {margin['mean_absolute']:.3f} where the mean margin is "
        f"{margin['mean_absolute_margin']:.3f}",
    )
    drop = worst["accuracy_after"] - worst["accuracy_before"]
    values = f"{percent(worst['accuracy_before'])} to {percent(worst['accuracy_after'])}"
    yield (
        "worst test subject",
        f"{worst['subject']}: {points(drop)} points of accuracy ({values}, {worst['windows']} windows), same class on "
        f"{percent(1 - worst['disagreement'])}",
    )
    flips, classes = target["flips"], target["classes"]
    yield (
        "McNemar",
        f"{flips['broken']} windows broken, {flips['repaired']} repaired (p = {flips['p']:.2g}, descriptive: windows "
        "of one subject are not independent)",
    )
    for key, label in (("labels", "labels"), ("before", "predicted before"), ("after", "predicted after")):
        counts = zip(classes[key], verdict["class_names"], strict=True)
        yield f"class balance, {label}", ", ".join(f"{count} {name}" for count, name in counts)
    before, after = target["reliability_before"]["ece"], target["reliability_after"]["ece"]
    yield "calibration error (ECE)", f"{percent(before)} float, {percent(after)} this file"
    yield "temperature", _temperature(temperature)
    if target["one_class_subjects"]:
        yield "not in macro-F1", f"{target['one_class_subjects']} subjects whose labels lack a class"


def _temperature(each: Mapping[str, Any]) -> str:
    if each["why_not"] is not None:
        return f"1: {each['why_not']}"
    return (
        f"{each['value']:.3f}; ECE of the float student without and with it: {percent(each['ece_before'])}, "
        f"{percent(each['ece_after'])} on validation windows; {percent(each['ece_test_before'])}, "
        f"{percent(each['ece_test_after'])} on test windows"
    )


def _list(items: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>" if items else ""


def _table(rows: Iterator[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"
