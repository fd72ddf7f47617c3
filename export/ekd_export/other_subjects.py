"""Disagreement of the subjects who are not test subjects. Their windows need no labels for it.

Activation ranges are calibrated on training subjects. Their values are within these ranges, and those of a new person
may be outside. Training subjects are therefore compared in two halves, each with ranges that were calibrated on the
other half. The student itself was trained on both halves, and its margins may be larger on them.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import DataError
from ekd_export.candidate import Candidate, requantized
from ekd_export.convert.tflite import student_logits
from ekd_export.evaluation.disagreement import by_subject
from ekd_export.inputs import ExportInputs
from ekd_export.quantization.quantize import calibration_windows
from ekd_export.quantization.recipes import Recipe
from ekd_train.data.windows import WindowSet

__all__ = ["WINDOWS_PER_SUBJECT", "disagreement_of_others", "thinned"]

WINDOWS_PER_SUBJECT = 200


def disagreement_of_others(inputs: ExportInputs, candidate: Candidate, recipe: Recipe) -> tuple[dict[str, float], ...]:
    """The disagreement of each validation and training subject by its name, one mapping for each target.

    Args:
        inputs: the student and its windows.
        candidate: the model to compare with the float student.
        recipe: the candidate's.

    Returns:
        A mapping for each target. A half of the training subjects is missing where the other half cannot calibrate.
    """
    found: list[Mapping[str, float]] = [{} for _ in inputs.test.targets]

    def add(windows: WindowSet, predicted: NDArray[np.float32]) -> None:
        shares = by_subject(windows.subject, student_logits(inputs.student, windows.gsr), predicted)
        found[:] = [{**before, **each} for before, each in zip(found, shares, strict=True)]

    if len(inputs.validation):
        validation = thinned(inputs.validation)
        add(validation, candidate.predict(validation.gsr))
    if not recipe.calibrated:
        training = thinned(inputs.train)
        add(training, candidate.predict(training.gsr))
        return tuple(map(dict, found))
    names = inputs.train.subjects
    for half, other in ((names[::2], names[1::2]), (names[1::2], names[::2])):
        if not half:
            continue
        try:
            calibration = calibration_windows(inputs.train.of_subjects(other), inputs.run.config.seed)
        except DataError:
            continue  # the other half has too few subjects or classes for calibration
        windows = thinned(inputs.train.of_subjects(half))
        add(windows, requantized(candidate, recipe, calibration).predict(windows.gsr))
    return tuple(map(dict, found))


def thinned(windows: WindowSet, most: int = WINDOWS_PER_SUBJECT) -> WindowSet:
    """At most this many windows of each subject, evenly spaced."""
    kept = []
    for name in windows.subjects:
        mine = np.flatnonzero(windows.subject == name)
        kept.append(mine[np.unique(np.linspace(0, len(mine) - 1, min(most, len(mine))).round().astype(np.int64))])
    return windows.select(np.sort(np.concatenate(kept)) if kept else [])
