"""Training in bfloat16 and with compiled steps agrees with float32."""

import copy
import json
from pathlib import Path

import pytest
import torch

from ekd_edge.errors import ConfigError
from ekd_train.config import TrainConfig
from ekd_train.models.config import NetworkConfig
from ekd_train.models.student import Student
from ekd_train.models.teacher import Teacher
from ekd_train.sweeps.train_cell import Cell, run_cell, run_stack
from ekd_train.training.device import arithmetic

TINY = {
    "data": "synthetic?subjects=6&trials=4&trial_s=20&eeg_channels=2",
    "signal": {"rate_hz": "16", "window_s": 4.0, "hop_s": 2.0, "eeg_features": "bandpower"},
    "network": {
        "filters": 8, "kernel": 16, "depth": 2, "heads": 2, "key_size": 4, "ffn": 8,
        "head_dropout": 0.0, "block_dropout": 0.0, "classifier_dropout": 0.0,
    },
    "teacher": {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3},
    "student": {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3},
}  # fmt: skip


@pytest.mark.parametrize(("kind", "bound"), [("student", 0.03), ("teacher", 0.03)])
@pytest.mark.parametrize("side", ["in", "train.in"])
def test_bfloat16_equals_the_published_numbers_within_a_looser_bound(kind, bound, side, request) -> None:
    golden = request.getfixturevalue(f"{kind}_golden")
    network = (Student if kind == "student" else Teacher)(NetworkConfig())
    weights = golden.weights()
    network.load_state_dict({name: weights[name] for name in network.state_dict() if name in weights}, strict=False)
    network.train(side == "train.in")
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    inputs = [golden[f"{side}.gsr"].flatten(1)]
    if kind == "teacher":
        inputs.insert(0, golden[f"{side}.eeg"].squeeze(-1))
    exact = copy.deepcopy(network)(*inputs)
    with arithmetic(torch.device("cpu"), "bf16"):
        rounded = network(*inputs)
    assert rounded.logits.dtype == torch.bfloat16
    assert (rounded.logits.float().softmax(-1) - exact.logits.softmax(-1)).abs().max() < bound
    error = (rounded.feature.float() - exact.feature).norm() / exact.feature.norm()
    assert error < 0.05


def losses(folder: Path, *changes: str) -> dict[str, float]:
    config = TrainConfig.from_json(TINY).override(changes)
    methods = ("teacher", "student", "kd", "kd-feedback")
    run_cell(config, Cell("arousal", 0, 0), methods, folder, "cpu", 1)
    results = {name: json.loads((folder / f"{name}.json").read_text()) for name in methods}
    return {name: result["history"][-1]["validation"]["loss"] for name, result in results.items()}


def test_bfloat16_training_gives_similar_scores(tmp_path: Path) -> None:
    plain = losses(tmp_path / "plain")
    rounded = losses(tmp_path / "rounded", "compute.precision=bf16")
    assert rounded != plain
    assert rounded == pytest.approx(plain, abs=0.05)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_steps_give_similar_weights(tmp_path: Path) -> None:
    changes = ("teacher.epochs=1", "student.epochs=1")
    assert losses(tmp_path / "compiled", "compute.compile=true", *changes) == pytest.approx(
        losses(tmp_path / "plain", *changes), abs=1e-3
    )


def test_compiled_stack_is_refused(tmp_path: Path) -> None:
    config = TrainConfig.from_json(TINY).override(["compute.compile=true", "split.kind=k-fold", "split.folds=3"])
    cells = [Cell("arousal", 0, fold) for fold in range(2)]
    with pytest.raises(ConfigError, match=r"set compute\.compile=false or leave --stack out"):
        run_stack(config, cells, ["student"], [tmp_path / cell.name for cell in cells], "cpu", 1)
