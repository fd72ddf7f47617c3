"""Build report.json, the source of text and plots. The same result files give the same report."""

import dataclasses
import hashlib
import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from ekd_train.report.collect import Cell, Plan, Sweep
from ekd_train.report.comparisons import compare_methods
from ekd_train.report.methods import ordered, title
from ekd_train.report.notes import notes, notice
from ekd_train.report.published import published
from ekd_train.report.scores import SCORES, Confusions, always, confusions, larger_class, total
from ekd_train.report.statistics import by_subject, seed_spread, summarize

__all__ = ["FORMAT", "build_report"]

FORMAT = 1


def build_report(sweep: Sweep) -> dict[str, Any]:
    """The report of a sweep, JSON-ready. Its first keys are the warnings about its figures."""
    plan = sweep.plan
    methods = ordered(plan.methods)
    in_order = sorted(sweep.cells, key=lambda cell: (cell.target, cell.method, cell.seed, cell.fold))
    cells = {
        target: {method: [c for c in in_order if (c.target, c.method) == (target, method)] for method in methods}
        for target in plan.targets
    }
    tested = {target: _tested(by_method) for target, by_method in cells.items()}
    larger = {target: larger_class(counts) if counts else None for target, counts in tested.items()}
    comparisons = compare_methods(cells, larger)
    expected = len(plan.results())
    report: dict[str, Any] = {
        "notice": notice(plan.leaky, plan.synthetic, len(sweep.cells), expected),
        "leaky": plan.leaky,
        "synthetic": plan.synthetic,
        "complete": len(sweep.cells) == expected,
        "format": FORMAT,
        "sweep": _about(plan, methods),
        "progress": {
            "done": len(sweep.cells),
            "expected": expected,
            "missing": list(sweep.missing),
            "damaged": [dataclasses.asdict(damage) for damage in sweep.damaged],
            "foreign": list(sweep.foreign),
            "diverged": [
                f"{cell.target}-seed{cell.seed}-fold{cell.fold:02d}/{cell.method}"
                for cell in in_order
                if not math.isfinite(cell.loss)
            ],
        },
        "targets": {target: _target(tested[target], larger[target], by_method) for target, by_method in cells.items()},
        "comparisons": [comparison.to_json() for comparison in comparisons],
        "published": published(plan.dataset),
        "seconds": math.fsum(cell.seconds for cell in in_order),
        "versions": _versions(),
    }
    return report | {"notes": notes(report)}


def _about(plan: Plan, methods: Sequence[str]) -> dict[str, Any]:
    canonical = json.dumps(plan.config, sort_keys=True, separators=(",", ":"))
    return {
        "data": plan.data,
        "dataset": plan.dataset,
        "identity": plan.identity,
        "targets": list(plan.targets),
        "seeds": list(plan.seeds),
        "folds": plan.folds,
        "split": plan.split,
        "methods": [{"name": method, "title": title(method)} for method in methods],
        "config": dict(plan.config),
        "config_sha256": hashlib.sha256(canonical.encode()).hexdigest(),
        "about": dict(plan.about),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("ekd", "numpy", "scipy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def _tested(by_method: Mapping[str, Sequence[Cell]]) -> Confusions:
    """The matrices of any one method for every seed and fold of a target; all methods have the same row sums."""
    one = {(cell.seed, cell.fold): cell for method_cells in by_method.values() for cell in method_cells}
    return confusions(one[key] for key in sorted(one))


def _target(tested: Confusions, larger: int | None, by_method: Mapping[str, Sequence[Cell]]) -> dict[str, Any]:
    windows = by_subject({key: float(sum(map(sum, counts))) for key, counts in tested.items()})
    high = by_subject({key: float(sum(counts[1])) for key, counts in tested.items()})
    return {
        "subjects": len(windows),
        "windows": round(math.fsum(windows.values())),
        "windows_by_class": {
            "low": round(math.fsum(windows.values()) - math.fsum(high.values())),
            "high": round(math.fsum(high.values())),
        },
        "larger_class": None
        if larger is None
        else {"label": ("low", "high")[larger], **_scores(always(tested, larger))},
        "methods": {method: _method(cells) for method, cells in by_method.items() if cells},
        "signal_quality": _signal_quality(by_method),
    }


def _signal_quality(by_method: Mapping[str, Sequence[Cell]]) -> dict[str, dict[str, int]] | None:
    """By side, the sums over seeds and folds of the windows and of those left out; None where all were kept."""
    known = [cell for cells in by_method.values() for cell in cells if cell.left_out is not None]
    counts = list({(cell.seed, cell.fold): cell.left_out or {} for cell in known}.values())
    if not counts:
        return None
    return {side: {key: sum(each[side][key] for each in counts) for key in counts[0][side]} for side in counts[0]}


def _scores(counts: Confusions) -> dict[str, Any]:
    return {name: dataclasses.asdict(summarize(of(counts))) for name, of in SCORES.items()}


def _method(cells: Sequence[Cell]) -> dict[str, Any]:
    counts = confusions(cells)
    windows = {key: float(sum(map(sum, matrix))) for key, matrix in counts.items()}
    by_score = {name: by_subject(of(counts)) for name, of in SCORES.items()}
    last = [cell for cell in cells if cell.history and cell.best_epoch == cell.history[-1].epoch]
    first = min((record.epoch for cell in cells for record in cell.history), default=1)
    best = [cell.best_epoch - first + 1 for cell in cells]
    return {
        **_scores(counts),
        "seeds": {
            name: {"means": {str(seed): mean for seed, mean in spread.means.items()}, "sd": spread.sd}
            for name, spread in ((name, seed_spread(of(counts))) for name, of in SCORES.items())
        },
        "subjects": [
            {
                "subject": subject,
                "windows": round(mean),
                "seeds": sum(1 for name, _ in counts if name == subject),
                **{score: by_score[score][subject] for score in SCORES},
            }
            for subject, mean in by_subject(windows).items()
        ],
        "confusion": [list(row) for row in total(counts.values())],
        "states": _states(cells),
        "test_loss": _mean(cell.loss for cell in cells),
        "training": {
            "runs": len(cells),
            "seconds": math.fsum(cell.seconds for cell in cells),
            "best_epoch": {"median": float(np.median(best)), "least": min(best), "greatest": max(best)},
            "epochs": max((len(cell.history) for cell in cells), default=0),
            "best_is_last": len(last),
            "curve": _curve(cells, first),
        },
    }


def _states(cells: Sequence[Cell]) -> dict[str, dict[str, float]]:
    """Mean scores over the test subjects of all cells, by state of the normalization."""
    means = {}
    for state in sorted({name for cell in cells for name in cell.states}):
        each = [cell.states[state] for cell in cells if state in cell.states]
        subjects = sum(scores.subjects for scores in each)
        means[state] = {
            name: math.fsum(getattr(scores, name) * scores.subjects for scores in each) / subjects
            for name in ("accuracy", "macro_f1")
        }
    return means


def _curve(cells: Sequence[Cell], first: int) -> list[dict[str, Any]]:
    """By epoch, counted from 1: mean and sd over runs of the validation scores, means of the training losses."""
    epochs = [(record.epoch, record) for cell in cells for record in cell.history]
    curve = []
    for epoch in sorted({number for number, _ in epochs}):
        records = [record for number, record in epochs if number == epoch]
        names = sorted({name for record in records for name in record.losses})
        curve.append(
            {
                "epoch": epoch - first + 1,
                "runs": len(records),
                "validation": {
                    name: {
                        "mean": _mean(record.validation[name] for record in records),
                        "sd": _sd(record.validation[name] for record in records),
                    }
                    for name in ("loss", "accuracy", "macro_f1")
                },
                "losses": {name: _mean(r.losses[name] for r in records if name in r.losses) for name in names},
            }
        )
    return curve


def _mean(values: Iterable[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else None


def _sd(values: Iterable[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.std(finite, ddof=1)) if len(finite) > 1 else None
