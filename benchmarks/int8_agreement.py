"""Share of windows that int8 leaves in the float student's class, on random splits by subject.

Each split trains two edge students on labels: with the preset, and with earlier settings for
comparison (no bound, no rounding noise, epoch by macro-F1). Both are exported by the default
recipe, which calibrates on training subjects. Test subjects are not used in training, calibration or the choice of
an epoch. Trained runs are kept in build/bench/int8/agreement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.int8_accuracy import change
from ekd_edge.metrics import Difference, macro_f1
from ekd_export.candidate import build_candidate
from ekd_export.convert.tflite import student_logits
from ekd_export.inputs import read_inputs
from ekd_export.quantization.recipes import RECIPES
from ekd_train import train
from ekd_train.config import load_preset
from ekd_train.run import Run

__all__ = ["SPLITS", "Agreement", "average", "evaluate_splits"]

FOLDER = Path("build/bench/int8/agreement")
SPLITS = 5
EARLIER = ("signal.bound=none", "network.student_noise=0", "student.choose_by=macro_f1")
DATA: Mapping[str, tuple[str, ...]] = {
    "stress_predict": ("split.test=0.34", "split.validation=0.25", "signal.hop_s=4", "signal.training_hop_s=16"),
    "synthetic": ("split.test=0.4", "signal.hop_s=4", "teacher.epochs=1", "distill.soft=0", "distill.feature=0"),
}
Scores = Mapping[tuple[str, int], float]
"""(subject, split) -> score."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Scores of test subjects: shares of windows with the float student's class, accuracy and macro-F1."""

    same: Scores
    accuracy: Scores
    macro_f1: Scores
    int8_accuracy: Scores
    int8_macro_f1: Scores


def evaluate_splits(name: str, data: str, target: str, splits: int = SPLITS) -> tuple[Agreement, Agreement]:
    """Train and export on each split: scores with the earlier settings, and with today's.

    Args:
        name: a key of `DATA`.
        data: the dataset, such as "recordings:mine".
        target: the rating to predict.
        splits: how many random splits by subject; the seed of a split is its number.

    Returns:
        The scores of the earlier settings and of today's preset.
    """
    earlier, today = (
        [_evaluate(name, data, target, seed, changes) for seed in range(splits)] for changes in (EARLIER, ())
    )
    return _joined(earlier), _joined(today)


def average(scores: Scores) -> Difference:
    """The mean over subjects, each averaged over splits first, with its interval."""
    return change(dict.fromkeys(scores, 0.0), scores)


def _evaluate(name: str, data: str, target: str, seed: int, changes: Sequence[str]) -> Agreement:
    path = FOLDER / f"{name}-{'earlier' if changes else 'today'}-{seed}"
    if not (path / "student.safetensors").exists():
        config = load_preset("edge").override([*DATA[name], "feedback.every=0", *changes])
        train(replace(config, seed=seed), data, path, targets=(target,), device="cpu")
    inputs = read_inputs(Run.load(path), lambda message: None)
    candidate = build_candidate(inputs, RECIPES["static"], lambda message: None)
    test, labels = inputs.test, inputs.test.labels[:, 0]
    exact = student_logits(inputs.student, test.gsr)[:, 0].argmax(-1)
    int8 = candidate.predict(test.gsr)[:, 0].argmax(-1)
    found: dict[str, dict[tuple[str, int], float]] = {field: {} for field in Agreement.__dataclass_fields__}
    for subject in test.subjects:
        mine = test.subject == subject
        found["same"][subject, seed] = float((exact == int8)[mine].mean())
        for prefix, predicted in (("", exact), ("int8_", int8)):
            found[f"{prefix}accuracy"][subject, seed] = float((predicted == labels)[mine].mean())
            found[f"{prefix}macro_f1"][subject, seed] = macro_f1(labels[mine], predicted[mine])
    return Agreement(**found)


def _joined(parts: Sequence[Agreement]) -> Agreement:
    fields = Agreement.__dataclass_fields__
    return Agreement(**{name: {k: v for part in parts for k, v in getattr(part, name).items()} for name in fields})
