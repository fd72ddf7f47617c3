"""Evaluation of model files on subjects that none of them was trained, validated or calibrated on.

Runs without torch, and so on a Pi too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ekd_edge import metrics
from ekd_edge.errors import ConfigError, DataError
from ekd_edge.model.file import ModelFile, load_model_file
from ekd_edge.model.find import find_model
from ekd_edge.model.interpreter import open_classifier
from ekd_edge.model.manifest import Manifest
from ekd_edge.model.subject_hash import hash_subject
from ekd_edge.pipeline.model_checks import restart_warning
from ekd_export.evaluation.leakage import check_unseen
from ekd_export.evaluation.target_figures import larger_class_accuracy
from ekd_train.data.source import Source, open_dataset

__all__ = ["EvaluationReport", "check_comparable", "evaluate", "unseen_subjects"]


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """Scores of each model file on the same windows, and a comparison of every further file with the first.

    source: the data as named; subjects: the evaluated ones; excluded: subjects left out because a model was trained,
    validated or calibrated on them. windows: how many were evaluated. left_out: how many more were left out for their
    signal quality, because a device withholds their labels. larger_class_accuracy: of each target, see
    `ekd_export.evaluation.target_figures.larger_class_accuracy`. remarks: why figures differ from an export's report.
    """

    source: str
    synthetic: bool
    subjects: tuple[str, ...]
    excluded: tuple[str, ...]
    windows: int
    left_out: int
    larger_class_accuracy: tuple[float, ...]
    model_files: tuple[ModelFile, ...]
    remarks: tuple[str, ...]
    scores: tuple[metrics.Scores, ...]
    comparisons: tuple[tuple[metrics.Comparison, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON-ready dict."""
        models = []
        for model_file, scores in zip(self.model_files, self.scores, strict=True):
            manifest = model_file.manifest
            about = {"path": str(model_file.path), "kind": manifest.kind, "sha256": manifest.sha256}
            models.append(about | {"size_bytes": manifest.size_bytes, "targets": scores.to_json()})
        changes = []
        for model_file, comparison in zip(self.model_files[1:], self.comparisons, strict=True):
            targets = {each.target: _change(each) for each in comparison}
            pair = {"first": str(self.model_files[0].path), "second": str(model_file.path)}
            changes.append(pair | {"interval": "paired Student t over subjects, 95%", "targets": targets})
        return {
            "data": self.source,
            "synthetic": self.synthetic,
            "subjects": list(self.subjects),
            "excluded_subjects": list(self.excluded),
            "windows": self.windows,
            "windows_left_out_for_signal_quality": self.left_out,
            "larger_class_accuracy": {
                target.name: share
                for target, share in zip(self.model_files[0].manifest.targets, self.larger_class_accuracy, strict=True)
            },
            "remarks": list(self.remarks),
            "models": models,
            "comparisons": changes,
        }


def evaluate(models: Path | str | Sequence[Path | str], data: str | None = None, threads: int = 1) -> EvaluationReport:
    """Evaluate model files on subjects that none of them has seen.

    Args:
        models: one model file, or several; every further one is compared with the first. "demo" is the shipped one.
        data: a data source such as "recordings:FOLDER"; None is the data that the first model was trained on.
        threads: threads of the TFLite runtime.

    Returns:
        Accuracy and macro-F1 by subject, and the changes with their intervals.

    Raises:
        ModelFileError: a file is missing or damaged.
        ConfigError: the files cannot be compared, because their windows or targets differ.
        DataError: no unseen subject is left, one is a copy of a subject that a model has seen, or the data does not
            fit the models.
    """
    paths = [models] if isinstance(models, str | Path) else models
    if not paths:
        raise ConfigError("there is no model to evaluate: name at least one model file")
    model_files = tuple(load_model_file(find_model(path)) for path in paths)
    check_comparable(model_files)
    manifest = model_files[0].manifest
    source = open_dataset(data if data is not None else manifest.training.source)
    kept, excluded = unseen_subjects([model_file.manifest for model_file in model_files], source)
    targets = tuple(target.name for target in manifest.targets)
    rule = manifest.training
    windows = source.windows(manifest.signal, None, targets, rule.threshold, subjects=kept, high=rule.high)
    check_unseen([model_file.manifest for model_file in model_files], windows)
    logits = [open_classifier(model_file, threads).predict(windows.gsr) for model_file in model_files]
    scores = [metrics.evaluate(windows.targets, windows.labels, windows.subject, each) for each in logits]
    further = zip(scores[1:], logits[1:], strict=True)
    return EvaluationReport(
        source=source.name,
        synthetic=source.synthetic,
        subjects=windows.subjects,
        excluded=excluded,
        windows=len(windows),
        left_out=sum(trial.windows for trial in windows.left_out),
        larger_class_accuracy=tuple(
            larger_class_accuracy(column, windows.subject, manifest.n_classes) for column in windows.labels.T
        ),
        model_files=model_files,
        remarks=tuple(remark for each in model_files for remark in _remarks(each)),
        scores=tuple(scores),
        comparisons=tuple(metrics.compare(scores[0], score, logits[0], each) for score, each in further),
    )


def check_comparable(model_files: Sequence[ModelFile]) -> None:
    """Raise ConfigError unless all models read the same windows and predict the same targets."""
    first = model_files[0]
    for other in model_files[1:]:
        if other.manifest.signal != first.manifest.signal:
            raise ConfigError(
                f"{first.path} and {other.path} have different signal specifications, so no window fits both: evaluate "
                "them one by one"
            )
        if other.manifest.targets != first.manifest.targets:
            raise ConfigError(f"{first.path} and {other.path} predict different targets: evaluate them one by one")
        if _rule(other) != _rule(first):
            raise ConfigError(
                f"{first.path} and {other.path} have different rules for a high rating: evaluate them one by one"
            )


def _remarks(model_file: ModelFile) -> Iterator[str]:
    """Why windows here are not those of the export's report: they are as a device has them."""
    manifest = model_file.manifest
    if restart_warning(manifest) is not None:
        yield (
            f"{model_file.path} was trained on trials that each restart the running mean of the normalization, and is "
            "evaluated with one that is carried from trial to trial, as on a device: its figures differ from the "
            "export's report"
        )
    quality = (manifest.evaluation or {}).get("signal_quality")
    if isinstance(quality, dict) and quality.get("keep_bad_windows") is True:
        yield (
            f"{model_file.path} was exported with windows of bad signal quality, which are left out here, as a device "
            "withholds their labels: its figures may differ from the export's report"
        )


def _rule(model_file: ModelFile) -> tuple[float, str]:
    return model_file.manifest.training.threshold, model_file.manifest.training.high


def unseen_subjects(manifests: Sequence[Manifest], source: Source) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Two groups of the source's subjects: unseen by every model, and seen by at least one.

    Raises DataError where no unseen subject is left.
    """
    seen: set[str] = set()
    for manifest in manifests:
        seen |= manifest.training.seen_subjects
        seen |= set(manifest.calibration.subjects) if manifest.calibration is not None else set()
    excluded = tuple(name for name in source.subjects if hash_subject(source.identity, name) in seen)
    kept = tuple(name for name in source.subjects if name not in excluded)
    if not kept:
        raise DataError(
            f"every subject of {source.name} was used to train these models: evaluate on other data with --data"
        )
    return kept, excluded


def _change(comparison: metrics.Comparison) -> dict[str, Any]:
    return {
        "agreement": comparison.agreement,
        "accuracy": asdict(comparison.accuracy),
        "macro_f1": asdict(comparison.macro_f1),
    }
