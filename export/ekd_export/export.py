"""From a run folder to one model file: fold, convert, quantize, audit, evaluate, write."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ekd_edge.artefact import Artefact, load_artefact, save_artefact
from ekd_edge.classify import open_classifier
from ekd_edge.errors import ConfigError, DataError, ExportError
from ekd_edge.evaluate import Comparison, Scores, compare, evaluate
from ekd_edge.manifest import Calibration, Kind, Manifest, Target, Training
from ekd_edge.subjects import hash_subjects
from ekd_export.audit import Audit, audit, check_classes, read_quantization
from ekd_export.convert import convert, student_logits, torch_logits
from ekd_export.disjoint import check_disjoint, with_window_hashes
from ekd_export.fold import fold
from ekd_export.quantize import CALIBRATION_METHOD, calibration_windows, fingerprint, quantize
from ekd_export.recipes import RECIPES
from ekd_train.data.source import parse_source
from ekd_train.data.windows import WindowSet
from ekd_train.run import Run

__all__ = ["LABELS", "Exported", "default_output", "export_run"]

LABELS = ("low", "high")
"""Names of the classes: the rating is high where `TrainConfig.threshold` and `TrainConfig.high` say so, else low."""

_CONVERSION_TOLERANCE = 1e-3
_CONVERSION_WINDOWS = 16


@dataclass(frozen=True, slots=True)
class Exported:
    """A written model file and what was measured on the way.

    agreement: share of validation windows, by target, on which the file and the float student predict the same
    class; empty where the split has no validation subjects. before, after: scores of the float student and of
    the file on the run's test subjects; losses: after against before.
    """

    artefact: Artefact
    audit: Audit
    agreement: dict[str, float]
    before: Scores
    after: Scores
    losses: tuple[Comparison, ...]


def default_output(run: Run, kind: Kind) -> Path:
    """RUN/student-KIND.tflite."""
    return run.path / f"student-{kind}.tflite"


def export_run(run: Run, kind: Kind, output: Path, report: Callable[[str], None]) -> Exported:
    """Write the run's student as a model file; `report` is told, line by line, what is being done and what is to be
    known of the data.

    Raises ConfigError where the run has no student or the output folder does not exist, DataError where its
    data changed or cannot calibrate, and ExportError where conversion fails or breaks something. Nothing is
    written then.
    """
    if not output.parent.is_dir():
        raise ConfigError(f"the folder {output.parent} does not exist: make it, or name another file with -o")
    sides = _sides(run)
    trained = run.student()
    report(f"reading {run.source} ...")
    windows = _read_windows(run, report)
    train, validation, test = (_of(windows, subjects) for subjects in sides)
    check_disjoint((train, validation), test)
    report("converting to TFLite ...")
    student = fold(trained, integer=kind == "int8")
    flatbuffer = convert(student, run.network.window_samples)
    calibrated = calibration_windows(train, run.config.seed)
    manifest = with_window_hashes(_manifest(run, kind), (train, validation))
    _check_conversion(student, flatbuffer, manifest, calibrated[:_CONVERSION_WINDOWS])
    if kind == "int8":
        report(f"quantizing to int8 with {len(calibrated)} windows of {len(train.subjects)} training subjects ...")
        flatbuffer = quantize(flatbuffer, RECIPES["static"], calibrated)
    found = audit(flatbuffer, kind)
    if kind == "int8":
        manifest = replace(
            manifest,
            quantization=read_quantization(flatbuffer),
            calibration=Calibration(
                method=CALIBRATION_METHOD,
                subjects=hash_subjects(run.identity, train.subjects),
                windows=len(calibrated),
                seed=run.config.seed,
                sha256=fingerprint(calibrated),
            ),
        )
    report("comparing with the float student ...")
    sets = (calibrated, validation.gsr, test.gsr)
    float_logits = [student_logits(trained, values) for values in sets]
    file_logits = [_run_file(flatbuffer, manifest, values) for values in sets]
    check_classes(run.network.targets, float_logits[0], file_logits[0])
    before, after = (
        evaluate(run.network.targets, test.labels, test.subject, logits[2]) for logits in (float_logits, file_logits)
    )
    losses = compare(before, after, float_logits[2], file_logits[2])
    agreement = _agreement(run.network.targets, float_logits[1], file_logits[1])
    evaluation = {
        "synthetic": run.synthetic,
        "validation_agreement": agreement,
        "test_subjects_before": before.hashed(run.identity).to_json(),
        "test_subjects_after": after.hashed(run.identity).to_json(),
        "test_subjects_change": {loss.target: asdict(loss) for loss in losses},
    }
    save_artefact(output, flatbuffer, replace(manifest, evaluation=evaluation))
    return Exported(load_artefact(output), found, agreement, before, after, losses)


def _sides(run: Run) -> tuple[tuple[str, ...], ...]:
    split = run.subject_split
    return split.train, split.validation, split.test


def _read_windows(run: Run, report: Callable[[str], None]) -> WindowSet:
    """The run's windows of all its subjects, cut by the Preprocessor of the run's signal specification."""
    source = parse_source(run.source)
    if source.identity != run.identity:
        raise DataError(f"the data of {run.source} changed since {run.path} was trained on it: train again")
    subjects = [subject for side in _sides(run) for subject in side]
    config = run.config
    windows = source.windows(
        run.signal, None, run.network.targets, config.threshold, subjects=subjects, high=config.high
    )
    for note in source.notes:
        report(note)
    return windows


def _of(windows: WindowSet, subjects: tuple[str, ...]) -> WindowSet:
    return windows.select(np.isin(windows.subject, subjects))


def _manifest(run: Run, kind: Kind) -> Manifest:
    if run.network.classes != len(LABELS):
        raise ExportError(f"the student has {run.network.classes} classes; ekd names {len(LABELS)}: train again")
    return Manifest(
        kind=kind,
        signal=run.signal,
        targets=tuple(Target(target, LABELS) for target in run.network.targets),
        training=Training(
            source=run.source,
            dataset=run.identity,
            synthetic=run.synthetic,
            train_subjects=hash_subjects(run.identity, run.subject_split.train),
            validation_subjects=hash_subjects(run.identity, run.subject_split.validation),
            test_subjects=hash_subjects(run.identity, run.subject_split.test),
            threshold=run.config.threshold,
            high=run.config.high,
        ),
        recipe="static" if kind == "int8" else "float32",
        student=run.network.student,
        made_by=f"ekd {version('ekd')}",
    )


def _check_conversion(student: nn.Module, flatbuffer: bytes, manifest: Manifest, windows: NDArray[np.float32]) -> None:
    expected = torch_logits(student, windows)
    converted = _run_file(flatbuffer, replace(manifest, kind="float32"), windows).reshape(expected.shape)
    error = float(np.abs(converted - expected).max())
    if not error <= _CONVERSION_TOLERANCE * (1 + float(np.abs(expected).max())):
        raise ExportError(f"the converter changed the student: its logits differ by {error:.3g}")


def _run_file(flatbuffer: bytes, manifest: Manifest, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (n, targets, classes) by the very path that the edge takes, through a written and verified file."""
    with TemporaryDirectory(prefix="ekd-") as folder:
        path = Path(folder) / "student.tflite"
        save_artefact(path, flatbuffer, manifest)
        return open_classifier(load_artefact(path)).predict(windows)


def _agreement(targets: tuple[str, ...], before: NDArray[np.float32], after: NDArray[np.float32]) -> dict[str, float]:
    if len(before) == 0:
        return {}
    same = (before.argmax(-1) == after.argmax(-1)).mean(axis=0)
    return {target: float(share) for target, share in zip(targets, same, strict=True)}
