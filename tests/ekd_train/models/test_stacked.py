"""A stack's training steps equal those of its members trained separately."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ekd_edge.errors import ConfigError
from ekd_train.config import TrainConfig
from ekd_train.models.config import STUDENTS, NetworkConfig, Output, StudentKind
from ekd_train.models.stacked import Stack
from ekd_train.models.student import Student
from ekd_train.models.teacher import Teacher
from ekd_train.settings.sections import DistillConfig, FeedbackConfig
from ekd_train.sweeps.train_cell import Cell, run_cell, run_stack
from ekd_train.training.distillation import build_projection, hard_loss, kd_step, label_step
from ekd_train.training.feedback import Batch, feedback_step

DETERMINISTIC = NetworkConfig(
    window_samples=40, filters=8, kernel=16, heads=2, key_size=4, ffn=8, eeg_rows=3, targets=("valence", "arousal"),
    head_dropout=0.0, block_dropout=0.0, classifier_dropout=0.0, student_noise=0.0,
)  # fmt: skip
MEMBERS = 3
WEIGHTS = DistillConfig(1.0, 0.7, 0.9, 2.0)


def batch() -> Batch:
    return Batch(
        torch.randn(MEMBERS, 6, 3, 40, dtype=torch.float64),
        torch.randn(MEMBERS, 6, 40, dtype=torch.float64),
        torch.randint(0, 2, (MEMBERS, 6, 2)),
    )


def networks(kind: type[Student] | type[Teacher], config: NetworkConfig = DETERMINISTIC) -> list[Student | Teacher]:
    return [kind(config).double() for _ in range(MEMBERS)]


def assert_same(stack: Stack, alone: list[Student | Teacher]) -> None:
    for member, one in zip(stack.members(), alone, strict=True):
        assert type(member) is type(one)
        for name, value in one.state_dict().items():
            torch.testing.assert_close(member.state_dict()[name], value, rtol=1e-9, atol=1e-10, msg=name)


def sgd(network: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.1)


@pytest.mark.parametrize("training", [True, False])
def test_stack_outputs_and_statistics_equal_those_of_each_member(training: bool) -> None:
    torch.manual_seed(0)
    alone, given = networks(Teacher), batch()
    stack = Stack(alone).train(training)
    output = stack(given.eeg, given.gsr)
    for number, one in enumerate(alone):
        expected = one.train(training)(given.eeg[number], given.gsr[number])
        for ours, theirs in zip(output, expected, strict=True):
            torch.testing.assert_close(ours[number], theirs, rtol=1e-9, atol=1e-10)
    assert_same(stack, alone)


@pytest.mark.parametrize("kind", STUDENTS)
def test_stack_steps_equal_those_of_each_member(kind: StudentKind) -> None:
    torch.manual_seed(1)
    config = replace(DETERMINISTIC, student=kind, student_filters=0 if kind == "paper" else 6)
    students, teachers, training, quiz = networks(Student, config), networks(Teacher), batch(), batch()
    student, teacher, pool = Stack(students), Stack(teachers), build_projection("pool", DETERMINISTIC)
    balance, one_by_one = (
        FeedbackConfig(hard=0.8, quiz=1.3),
        torch.randn(MEMBERS, 6, DETERMINISTIC.teacher_feature).double(),
    )
    teacher_output = Output(torch.randn(MEMBERS, 6, 2, 2).double(), one_by_one)
    feedback_step(student, teacher, sgd(student), sgd(teacher), training, quiz, 0.3, WEIGHTS, pool, balance)
    kd_step(student, sgd(student), training.gsr, training.labels, teacher_output, WEIGHTS, pool)
    label_step(student, sgd(student), quiz.gsr, quiz.labels, 0.1)
    for k in range(MEMBERS):
        mine, test = Batch(*(x[k] for x in training)), Batch(*(x[k] for x in quiz))
        one, its = students[k], teachers[k]
        feedback_step(one, its, sgd(one), sgd(its), mine, test, 0.3, WEIGHTS, pool, balance)
        kd_step(one, sgd(one), mine.gsr, mine.labels, Output(*(x[k] for x in teacher_output)), WEIGHTS, pool)
        label_step(one, sgd(one), test.gsr, test.labels, 0.1)
    assert_same(student, students)
    assert_same(teacher, teachers)


def test_stack_loss_is_the_sum_over_members() -> None:
    logits, labels = torch.randn(MEMBERS, 6, 2, 2), torch.randint(0, 2, (MEMBERS, 6, 2))
    total = sum(hard_loss(logits[k], labels[k]) for k in range(MEMBERS))
    torch.testing.assert_close(hard_loss(logits, labels), total)


def test_dropout_differs_by_member_and_is_off_in_evaluation() -> None:
    config = replace(DETERMINISTIC, head_dropout=0.3, block_dropout=0.1, classifier_dropout=0.5)
    torch.manual_seed(2)
    stack = Stack([Student(config).double()] * MEMBERS)
    same = torch.randn(1, 6, 40, dtype=torch.float64).expand(MEMBERS, 6, 40)
    evaluated, trained = stack.eval()(same).feature, stack.train()(same).feature
    assert not torch.allclose(trained[0], trained[1])
    assert torch.equal(evaluated[0], evaluated[1])


TINY = {
    "data": "synthetic?subjects=8&trials=6&trial_s=20&eeg_channels=2",
    "signal": {"rate_hz": "16", "window_s": 4.0, "hop_s": 2.0, "eeg_features": "bandpower"},
    "network": {"filters": 8, "kernel": 16, "depth": 2, "heads": 2, "key_size": 4, "ffn": 8},
    "teacher": {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3},
    "student": {"epochs": 3, "batch_size": 16, "learning_rate": 1e-3, "patience": 1},
    "split": {"kind": "k-fold", "folds": 4},
    "feedback": {"every": 2},
}
ALL = ("teacher", "student", "kd", "kd-feedback", "kd-joint", "label-smoothing", "self-distillation")


def test_stacked_folds_give_the_same_files_as_cells(tmp_path: Path) -> None:
    config = TrainConfig.from_json(TINY)
    cells = [Cell("arousal", 0, fold) for fold in range(3)]
    folders = [tmp_path / cell.name for cell in cells]
    messages: list[str] = []
    run_stack(config, cells, ALL, folders, "cpu", 1, messages.append)
    tested = []
    for cell, folder in zip(cells, folders, strict=True):
        for name in ALL:
            result = json.loads((folder / f"{name}.json").read_text())
            assert (result["method"], result["fold"], result["leaky"]) == (name, cell.fold, False)
            assert (folder / f"{name}.safetensors").is_file()
            assert 1 <= len(result["history"]) == result["epochs"] <= 3
        tested.append({subject["subject"] for subject in result["test"]["subjects"]})
        assert not list(folder.glob("checkpoint-*"))
    assert not tested[0] & tested[1] | tested[1] & tested[2] | tested[0] & tested[2]
    assert any(line.startswith("kd-feedback epoch") for line in messages)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    run_stack(config, cells, ALL, folders, "cpu", 1)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}, "nothing is computed twice"


def test_stack_resumes_only_with_the_same_folds(tmp_path: Path) -> None:
    """The network of one fold was trained on the test subjects of another fold."""
    config = TrainConfig.from_json(TINY)
    cells = [Cell("arousal", 0, fold) for fold in range(3)]

    def run(root: Path, *folds: int, killed: bool = False) -> list[dict[str, object]]:
        chosen = [cells[fold] for fold in folds]
        folders = [root / cell.name for cell in chosen]

        def tell(text: str) -> None:
            if killed and text.startswith("student epoch 2"):
                raise KeyboardInterrupt

        run_stack(config, chosen, ["student"], folders, "cpu", 1, tell)
        return [json.loads((folder / "student.json").read_text()) | {"seconds": None} for folder in folders]

    for folds in ((0,), (0, 2), (0, 1)):
        root = tmp_path / "-".join(map(str, folds))
        with pytest.raises(KeyboardInterrupt):
            run(root, 0, 1, killed=True)
        assert list(root.rglob("checkpoint-student.safetensors"))
        assert run(root, *folds) == run(tmp_path / "whole" / root.name, *folds)


def test_cell_uses_existing_results(tmp_path: Path) -> None:
    config, cell = TrainConfig.from_json(TINY), Cell("arousal", 0, 1)
    run_cell(config, cell, ["kd"], tmp_path, "cpu", 1)
    assert {path.name for path in tmp_path.glob("*.json")} == {"teacher.json", "kd.json"}
    teacher = (tmp_path / "teacher.safetensors").stat().st_mtime_ns
    run_cell(config, cell, ["kd", "self-distillation"], tmp_path, "cpu", 1)
    assert {path.stem for path in tmp_path.glob("*.json")} == {"teacher", "kd", "student", "self-distillation"}
    assert (tmp_path / "teacher.safetensors").stat().st_mtime_ns == teacher


@pytest.mark.parametrize(
    ("methods", "changes", "message"),
    [
        (["kt"], [], "no method 'kt'"),
        (["kd-feedback"], ["feedback.every=0"], "needs adaptive feedback"),
        (["kd-unrated"], [], "set split.rated below 1"),
        (["teacher"], ["data=synthetic?subjects=8&trials=6&trial_s=20&eeg_channels=0"], "needs EEG"),
        (["student"], ["split.fold=7", "split.kind=holdout"], "fold 1 does not exist"),
    ],
)
def test_impossible_cell_is_refused(methods: list[str], changes: list[str], message: str, tmp_path: Path) -> None:
    config = TrainConfig.from_json(TINY).override(changes)
    with pytest.raises(ConfigError, match=message):
        run_cell(config, Cell("arousal", 0, 1), methods, tmp_path / "cell", "cpu", 1)


def test_unrated_subjects_change_distillation_and_are_refused_in_a_stack(tmp_path: Path) -> None:
    config = TrainConfig.from_json(TINY).override(["split.rated=0.5"])
    run_cell(config, Cell("arousal", 0, 0), ["kd", "kd-unrated"], tmp_path, "cpu", 1)
    kd, more = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("kd", "kd-unrated"))
    assert kd["history"][0]["losses"] != more["history"][0]["losses"]
    cells = [Cell("arousal", 0, fold) for fold in range(2)]
    with pytest.raises(ConfigError, match="leave --stack out"):
        run_stack(config, cells, ["student"], [tmp_path / "a", tmp_path / "b"], "cpu", 1)
