"""The inputs of an export: the trained student of a run, and the windows of each group of its split."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError, ExportError
from ekd_export.convert.tflite import student_logits
from ekd_export.evaluation.leakage import check_disjoint
from ekd_export.evaluation.signoff import check_classes_present
from ekd_export.evaluation.temperature import Temperature, fit_temperatures, with_temperatures
from ekd_export.quantization.quantize import calibration_windows
from ekd_train.data.left_out import Counts, count_left_out
from ekd_train.data.source import open_dataset
from ekd_train.data.windows import WindowSet
from ekd_train.models.student import Student
from ekd_train.run import Run

__all__ = ["LABELS", "ExportInputs", "read_inputs"]

LABELS = ("low", "high")
"""Names of the classes: a rating is high by the rule of `TrainConfig.threshold` and `TrainConfig.high`, else low."""


@dataclass(frozen=True, slots=True)
class ExportInputs:
    """A run's trained student and its windows, cut by the Preprocessor of the run's signal specification.

    student: its logits are already divided by the temperatures, one for each target.
    calibration: float32 (n, window_samples), windows of training subjects. validation may be empty. test is used for
    the final verdict only; nothing is chosen by it. left_out: the numbers of windows that were left out for their
    signal quality, by side.
    """

    run: Run
    student: Student
    train: WindowSet
    validation: WindowSet
    test: WindowSet
    calibration: NDArray[np.float32]
    left_out: Counts
    temperatures: tuple[Temperature, ...]


def read_inputs(run: Run, notify: Callable[[str], None]) -> ExportInputs:
    """Read the run's student and data.

    Args:
        run: a run whose training has ended.
        notify: called with a sentence for each step and for each remark on the data.

    Returns:
        The student and the windows of training, validation and test subjects.

    Raises:
        ConfigError: the run has no student.
        DataError: its data changed, or its windows are not sufficient for calibration or for the verdict.
        ExportError: the student has another number of classes than there are `LABELS`.
    """
    split = run.subject_split
    student = run.student()
    if run.network.classes != len(LABELS):
        raise ExportError(f"the student has {run.network.classes} classes, and exports need {len(LABELS)}: train again")
    notify(f"reading {run.source} ...")
    windows = _read_windows(run, (*split.train, *split.validation, *split.test), notify)
    train, validation, test = (
        windows.select(np.isin(windows.subject, subjects)) for subjects in (split.train, split.validation, split.test)
    )
    left_out = count_left_out(split, windows)
    _check_remaining(left_out)
    check_disjoint((train, validation), test)
    check_classes_present(windows.targets, test.labels, LABELS)
    calibration = calibration_windows(train, run.config.seed)
    temperatures = fit_temperatures(validation, _logits(student, validation), LABELS)
    for each in temperatures:
        if each.why_not is not None:
            notify(each.why_not)
    scaled = with_temperatures(student, {each.target: each.value for each in temperatures})
    return ExportInputs(run, scaled, train, validation, test, calibration, left_out, temperatures)


def _check_remaining(left_out: Counts) -> None:
    """Raise DataError where all windows that calibrate or judge were left out for their signal quality."""
    for side, purpose in (("training", "calibrate int8"), ("test", "judge the loss")):
        counts = left_out[side]
        if counts["left_out"] and counts["left_out"] == counts["windows"]:
            raise DataError(
                f"all {counts['windows']} windows of the {side} subjects, which {purpose}, were left out for their "
                "signal quality: check the unit of GSR and the electrodes, or train with --keep-bad-windows"
            )


def _logits(student: Student, windows: WindowSet) -> NDArray[np.float32]:
    """Logits (n, targets, classes), also of no window."""
    if len(windows) == 0:
        return np.zeros((0, len(windows.targets), len(LABELS)), np.float32)
    return student_logits(student, windows.gsr)


def _read_windows(run: Run, subjects: tuple[str, ...], notify: Callable[[str], None]) -> WindowSet:
    source = open_dataset(run.source)
    if source.identity != run.identity:
        raise DataError(f"the data of {run.source} changed since {run.path} was trained on it: train again")
    config = run.config
    windows = source.windows(
        run.signal,
        None,
        run.network.targets,
        config.threshold,
        subjects=subjects,
        high=config.high,
        state=config.signal.normalization_state,
        keep_bad=config.signal.keep_bad_windows,
    )
    for note in source.notes:
        notify(note)
    if config.signal.normalization_state == "restarted" and run.signal.normalization.has_running_mean:
        notify(
            f"{run.path} was trained on trials that each restart the running mean of the normalization, which a "
            "sensor's stream does not do: its accuracy on a device is not that of the report; train again with "
            "signal.normalization_state=carried"
        )
    return windows
