"""Rendering of report.json as Markdown that is readable on a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ekd_edge.formatting import interval, origin, percent, points
from ekd_train.data.left_out import STATE_TITLES, describe_left_out
from ekd_train.report.comparisons import LARGER_CLASS
from ekd_train.report.methods import short_title, title
from ekd_train.report.notes import marks, p_value, verdict
from ekd_train.report.plots import plot_names

__all__ = ["render_markdown", "render_text"]

NAMED = 20
NOTHING = "–"
TESTS = ("95 % interval", "could show", "seeds > 0", "p (t)", "Holm", "ranks")
SCORE_TITLES = {"accuracy": "accuracy", "macro_f1": "F1"}


def render_text(report: Mapping[str, Any]) -> str:
    """Return the whole report for a terminal. Its first line has the warnings about its figures."""
    parts = [
        *([report["notice"]] if report["notice"] else []),
        f"# {_headline(report)}",
        _scores(report),
        _certainty(report),
        *_comparisons(report),
        _larger_class(report),
        _states(report),
        _training(report),
        _missing(report),
        _protocol(report),
        "## Notes\n\n" + "\n".join(f"{number}. {note}" for number, note in enumerate(report["notes"], 1)),
    ]
    return "\n\n".join(part for part in parts if part)


def render_markdown(report: Mapping[str, Any]) -> str:
    """Return `render_text` with links to the plots, the content of report.md."""
    pictures = [f"![{name.removesuffix('.png').replace('-', ' ')}](plots/{name})" for name in plot_names(report)]
    return "\n\n".join([render_text(report), *(["## Plots" + marks(report), *pictures] if pictures else [])]) + "\n"


def _headline(report: Mapping[str, Any]) -> str:
    sweep = report["sweep"]
    subjects = max((target["subjects"] for target in report["targets"].values()), default=0)
    return (
        f"Sweep over {sweep['data']}{origin(report['synthetic'])}: {_count(subjects, 'test subject')}, "
        f"{_count(len(sweep['seeds']), 'seed')}, {sweep['split']} ({_count(sweep['folds'], 'fold')})"
    )


def _scores(report: Mapping[str, Any]) -> str:
    targets = report["targets"]
    published = (report["published"] or {"rows": []})["rows"]
    names = [method["name"] for method in report["sweep"]["methods"]]
    rows = []
    for method in report["sweep"]["methods"]:
        rows.append([method["title"], *(_both(target["methods"].get(method["name"])) for target in targets.values())])
        rows += [_published_row(row, targets) for row in published if row["method"] == method["name"]]
    rows.append(["Always the larger class", *(_both(target["larger_class"]) for target in targets.values())])
    rows += [_published_row(row, targets) for row in published if row["method"] not in names]
    header = ["method", *(f"{name}: accuracy / F1" for name in targets)]
    classes = [
        f"{name}: {_count(target['windows'], 'test window')} of {_count(target['subjects'], 'subject')}, "
        f"{target['windows_by_class']['low']} low and {target['windows_by_class']['high']} high"
        + (f"; the larger class is {target['larger_class']['label']}" if target["larger_class"] else "")
        for name, target in targets.items()
    ]
    return "\n\n".join(
        [f"## Accuracy / F1, %, mean ± sd over subjects{marks(report)}", _table(header, rows), "\n".join(classes)]
    )


def _certainty(report: Mapping[str, Any]) -> str:
    rows = []
    for name, target in report["targets"].items():
        for method, scores in target["methods"].items():
            sd = scores["seeds"]["accuracy"]["sd"]
            rows.append(
                [
                    name,
                    title(method),
                    str(scores["accuracy"]["subjects"]),
                    *(f"{percent(scores[s]['mean'])}{_between(scores[s])}" for s in SCORE_TITLES),
                    NOTHING if sd is None else f"{100 * sd:.2f}",
                ]
            )
    header = ["target", "method", "subjects", "accuracy, 95 % interval", "F1, 95 % interval", "sd over seeds"]
    return f"## Uncertainty of the means{marks(report)}\n\n{_table(header, rows)}" if rows else ""


def _comparisons(report: Mapping[str, Any]) -> list[str]:
    header = ["compared", "score", "points", *TESTS, "verdict"]
    tables = []
    for target in report["targets"]:
        found = [c for c in report["comparisons"] if (c["family"], c["target"]) == ("methods", target)]
        rows = [
            [
                f"{short_title(c['method'])} vs {short_title(c['reference'])}" if c["score"] == "accuracy" else "",
                SCORE_TITLES[c["score"]],
                points(c["mean"]),
                *_tests(c),
                verdict(c),
            ]
            for c in found
        ]
        if rows:
            over = sorted({(c["subjects"], c["seeds"]) for c in found})
            n = " or ".join(f"{_count(subjects, 'subject')} x {_count(seeds, 'seed')}" for subjects, seeds in over)
            tables.append(f"## Methods compared, {target}, over {n}{marks(report)}\n\n{_table(header, rows)}")
    return tables


def _larger_class(report: Mapping[str, Any]) -> str:
    rows = [
        [c["target"], title(c["method"]), points(c["mean"]), *_tests(c), verdict(c)]
        for c in report["comparisons"]
        if (c["family"], c["score"]) == (LARGER_CLASS, "accuracy")
    ]
    header = ["target", "method", "points", *TESTS, "verdict"]
    heading = f"## Accuracy against always predicting the larger class{marks(report)}"
    return f"{heading}\n\n{_table(header, rows)}" if rows else ""


def _states(report: Mapping[str, Any]) -> str:
    rows = [
        [name, title(method), *(_state(scores["states"].get(state)) for state in STATE_TITLES)]
        for name, target in report["targets"].items()
        for method, scores in target["methods"].items()
        if scores.get("states")
    ]
    header = ["target", "method", *STATE_TITLES.values()]
    heading = f"## Accuracy / F1 by running mean of the normalization, %{marks(report)}"
    about = (
        "A sensor's stream carries the running mean on; restarted at each trial, it is as in the first minutes after "
        "the start."
    )
    return f"{heading}\n\n{about}\n\n{_table(header, rows)}" if rows else ""


def _state(scores: Mapping[str, float] | None) -> str:
    return NOTHING if scores is None else " / ".join(f"{100 * scores[score]:.1f}" for score in SCORE_TITLES)


def _training(report: Mapping[str, Any]) -> str:
    rows = []
    for name, target in report["targets"].items():
        for method, scores in target["methods"].items():
            training = scores["training"]
            best = training["best_epoch"]
            rows.append(
                [
                    name,
                    title(method),
                    str(training["runs"]),
                    _time(training["seconds"] / training["runs"]),
                    _time(training["seconds"]),
                    f"{best['median']:g} ({best['least']} to {best['greatest']})",
                    f"{training['best_is_last']} of {training['runs']}",
                ]
            )
    header = [
        "target",
        "method",
        "runs",
        "time a run",
        "in all",
        "best epoch, median (range)",
        "best epoch was the last",
    ]
    return f"## Training: {_time(report['seconds'])} in all{marks(report)}\n\n{_table(header, rows)}" if rows else ""


def _missing(report: Mapping[str, Any]) -> str:
    progress = report["progress"]
    paragraphs = [f"{progress['done']} of {progress['expected']} results are finished."]
    for count, names in (
        ("missing", progress["missing"]),
        ("damaged", [f"{damage['file']}: {damage['reason']}" for damage in progress["damaged"]]),
        ("not in the plan of this sweep, ignored", progress["foreign"]),
        ("with a test loss that is not finite, included in the figures", progress["diverged"]),
    ):
        if names:
            more = [f"... and {len(names) - NAMED} more, named in report.json"] if len(names) > NAMED else []
            paragraphs.append(
                "\n".join([f"{len(names)} {count}:\n", *(f"- {name}" for name in [*names[:NAMED], *more])])
            )
    return "## Results\n\n" + "\n\n".join(paragraphs)


def _protocol(report: Mapping[str, Any]) -> str:
    sweep = report["sweep"]
    config = sweep["config"]
    signal = config.get("signal", {})
    lines = [
        f"data: {sweep['data']}{origin(report['synthetic'])}, identity {sweep['identity']}",
        f"split: {sweep['split']}, {_count(sweep['folds'], 'fold')}; seeds {', '.join(map(str, sweep['seeds']))}",
    ]
    if {"window_s", "rate_hz"} <= signal.keys():
        hop = signal.get("training_hop_s") or signal.get("hop_s")
        lines.append(
            f"windows: {signal['window_s']:g} s at {signal['rate_hz']} Hz" + (f", every {hop:g} s" if hop else "")
        )
    for name, target in report["targets"].items():
        if target.get("signal_quality"):
            counts = describe_left_out(target["signal_quality"])
            lines.append(f"{name}, over all seeds and folds: {counts}")
    if signal.get("keep_bad_windows"):
        lines.append("no window was left out for signal quality (signal.keep_bad_windows)")
    if "threshold" in config:
        where = config.get("high", "above").replace("-", " ")
        lines.append(f"a window is high if its rating is {where} {config['threshold']:g}, else low")
    for name, value in sweep["about"].items():
        shown = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, Mapping) else value
        lines.append(f"{name}: {shown}")
    lines.append(f"configuration: sha256 {sweep['config_sha256']} (in full in report.json)")
    lines.append("reported with " + ", ".join(f"{name} {number}" for name, number in report["versions"].items()))
    return "## Data and protocol\n\n" + "\n".join(f"- {line}" for line in lines)


def _both(scores: Mapping[str, Any] | None) -> str:
    if scores is None:
        return NOTHING
    return " / ".join(
        f"{100 * scores[score]['mean']:.1f}"
        + ("" if scores[score]["sd"] is None else f" ± {100 * scores[score]['sd']:.1f}")
        for score in SCORE_TITLES
    )


def _published_row(row: Mapping[str, Any], targets: Iterable[str]) -> list[str]:
    return [f"Published: {row['title']}", *(_published(row["targets"].get(name)) for name in targets)]


def _published(scores: Mapping[str, float] | None) -> str:
    return NOTHING if scores is None else " / ".join(f"{100 * scores[score]:.2f}" for score in SCORE_TITLES)


def _between(summary: Mapping[str, Any]) -> str:
    if summary["low"] is None or summary["high"] is None:
        return " (no interval)"
    return f" ({100 * summary['low']:.1f} to {100 * summary['high']:.1f})"


def _tests(c: Mapping[str, Any]) -> list[str]:
    spread = [NOTHING, NOTHING] if c["low"] is None else [interval(c["low"], c["high"]), f"{100 * c['half_width']:.2f}"]
    seeds = c["by_seed"]["means"].values()
    above = f"{sum(mean > 0 for mean in seeds)} of {len(seeds)}" if seeds else NOTHING
    return [*spread, above, *(p_value(c[name]) for name in ("t_p", "t_p_holm", "wilcoxon_p_holm"))]


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(header))]
    first, *others = (
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    )
    return "\n".join([first, "| " + " | ".join("-" * width for width in widths) + " |", *others])
