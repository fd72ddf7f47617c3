"""Tests of the epoch loop: which epoch is kept, and when a stage ends."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from ekd_train.settings.sections import EpochScore
from ekd_train.training.loop import Fitted, SilentReporter, Stage, fit

SCORES: Sequence[Mapping[str, float]] = (
    {"macro_f1": 0.6, "loss": 0.9},
    {"macro_f1": 0.8, "loss": 0.8},
    {"macro_f1": 0.7, "loss": 0.5},
    {"macro_f1": 0.8, "loss": 0.7},
    {"macro_f1": 0.5, "loss": 0.6},
)


def fitted(
    folder: Path, choose_by: EpochScore, patience: int = 0, scored: Sequence[Mapping[str, float]] = SCORES
) -> tuple[Fitted, float]:
    """The result of a stage whose single weight is the number of finished epochs, and that weight."""
    network = nn.Linear(1, 1, bias=False)
    scores = iter(scored)

    def run_epoch(epoch: int, on_batch: object) -> Mapping[str, float]:
        with torch.no_grad():
            network.weight.fill_(epoch)
        return {}

    stage = Stage(
        name="student", stream="student", identity="", epochs=len(scored), batches_per_epoch=1,
        modules={"student": network}, optimizers={}, keep=network, run_epoch=run_epoch,
        validate=lambda: [next(scores)], patience=patience, choose_by=choose_by,
    )  # fmt: skip
    (result,) = fit(stage, folder, 0, SilentReporter())
    return result, float(network.weight.detach())


@pytest.mark.parametrize(("choose_by", "epoch"), [("macro_f1", 3), ("loss", 2)])
def test_best_epoch_is_kept_by_the_chosen_score(tmp_path: Path, choose_by: EpochScore, epoch: int) -> None:
    result, weight = fitted(tmp_path, choose_by)
    assert result.best.epoch == epoch
    assert weight == epoch


@pytest.mark.parametrize("choose_by", ["macro_f1", "loss"])
def test_epoch_without_a_finite_loss_is_worse_than_any_other(tmp_path: Path, choose_by: EpochScore) -> None:
    scored = [{"macro_f1": 0.6, "loss": math.nan}, {"macro_f1": 0.6, "loss": 0.9}]
    assert fitted(tmp_path, choose_by, scored=scored)[0].best.epoch == 1


def test_stage_ends_after_its_patience_without_a_better_score(tmp_path: Path) -> None:
    result, _ = fitted(tmp_path, "loss", patience=1)
    assert len(result.history) == 4
    assert result.best.epoch == 2
