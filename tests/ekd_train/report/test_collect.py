import json

import numpy as np
import pytest

from ekd_edge.errors import ConfigError, DataError
from ekd_edge.metrics import macro_f1
from ekd_train.report.collect import read_sweep, scores_of


def test_finished_sweep_is_read_completely(sweep) -> None:
    found = read_sweep(sweep())
    assert len(found.cells) == 2 * 4 * 4
    assert (found.missing, found.damaged, found.foreign) == ((), (), ())
    assert {result.subject for cell in found.cells for result in cell.subjects} == {f"s{n:02d}" for n in range(1, 9)}
    assert not found.plan.leaky
    assert found.plan.seeds == (0, 1)


def test_scores_follow_from_the_confusion_matrix() -> None:
    labels, predicted = np.array([0] * 5 + [1] * 4), np.array([0, 0, 0, 1, 1, 0, 1, 1, 1])
    assert scores_of(((3, 2), (1, 3))) == pytest.approx((6 / 9, macro_f1(labels, predicted)))
    assert scores_of(((0, 0), (0, 4))) == (1.0, 1.0)


def test_plan_keeps_unknown_fields(sweep) -> None:
    assert read_sweep(sweep(preset="paper", environment={"torch": "2.13"})).plan.about == {
        "preset": "paper",
        "environment": {"torch": "2.13"},
    }


def test_missing_results_are_named(sweep, cell) -> None:
    folder = sweep()
    cell(folder, "arousal", 1, 2, "kd").unlink()
    for file in cell(folder, "arousal", 0, 3, "kd").parent.iterdir():
        file.unlink()
    found = read_sweep(folder)
    assert found.missing == (
        *(f"cells/arousal-seed0-fold03/{method}.json" for method in ("teacher", "student", "kd", "kd-feedback")),
        "cells/arousal-seed1-fold02/kd.json",
    )
    assert len(found.cells) == 32 - 5


def test_sweep_without_results_is_read(sweep) -> None:
    folder = sweep()
    for file in folder.glob("cells/*/*.json"):
        file.unlink()
    found = read_sweep(folder)
    assert (len(found.cells), len(found.missing)) == (0, 32)


def test_files_outside_the_plan_are_named_and_kept(sweep, cell) -> None:
    folder = sweep()
    other = cell(folder, "arousal", 9, 0, "kd")
    other.parent.mkdir()
    other.write_bytes(cell(folder, "arousal", 0, 0, "kd").read_bytes())
    (other.parent / "kd.json.part").write_text("{")
    found = read_sweep(folder)
    assert found.foreign == ("cells/arousal-seed9-fold00/kd.json",)
    assert len(found.cells) == 32


def first_subject(data: dict) -> dict:
    subject: dict = data["test"]["subjects"][0]
    return subject


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data.update(format=2), "another version"),
        (lambda data: data.update(seed=7), "says seed 7"),
        (lambda data: data.update(leaky=True), "was trained with another split: trial-leaky"),
        (lambda data: data.update(method="student"), "says method 'student'"),
        (lambda data: data.pop("test"), "has no 'test'"),
        (lambda data: data.update(test=[]), "test is not a dict"),
        (lambda data: data.update(best_epoch=1.5), "best_epoch is not a whole number"),
        (lambda data: data.update(seconds="long"), "seconds is not a number"),
        (lambda data: data.update(seconds=float("nan")), "seconds is not finite"),
        (lambda data: data["history"][0].pop("validation"), "has no 'validation'"),
        (lambda data: data["history"].append(3), "subscriptable"),
        (lambda data: data["test"].update(subjects=[]), "at least one"),
        (lambda data: data["test"]["subjects"].append(first_subject(data)), "every test subject once"),
        (lambda data: first_subject(data).update(windows=1), "does not add up"),
        (lambda data: first_subject(data).update(accuracy=0.999), "not those of its confusion matrix"),
        (lambda data: first_subject(data).update(confusion=[[1, 2, 3], [4, 5, 6]]), "unpack"),
        (lambda data: first_subject(data).update(confusion=[[-1, 2], [3, 4]]), "does not add up"),
    ],
)
def test_damaged_result_is_named_with_its_reason_and_others_are_read(sweep, cell, edit, damage, reason) -> None:
    folder = sweep()
    edit(cell(folder, "arousal", 1, 2, "kd"), damage)
    found = read_sweep(folder)
    (damaged,) = found.damaged
    assert damaged.file == "cells/arousal-seed1-fold02/kd.json"
    assert reason in damaged.reason
    assert len(found.cells) == 31
    assert found.missing == ()


@pytest.mark.parametrize("content", [b"", b'{"format": 1, "met', b"\xff\xfe\x00", b"[]", b"null"])
def test_truncated_file_is_damaged(sweep, cell, content) -> None:
    folder = sweep()
    cell(folder, "arousal", 0, 0, "student").write_bytes(content)
    assert [damage.file for damage in read_sweep(folder).damaged] == ["cells/arousal-seed0-fold00/student.json"]


def test_non_finite_loss_is_a_result(sweep, cell, edit) -> None:
    folder = sweep()
    edit(cell(folder, "arousal", 0, 0, "student"), lambda data: data["test"].update(loss=float("inf")))
    assert len(read_sweep(folder).cells) == 32


def test_methods_tested_on_different_windows_are_not_compared(sweep, cell, edit, entry) -> None:
    folder = sweep()
    edit(
        cell(folder, "arousal", 0, 1, "kd"),
        lambda d: d["test"]["subjects"].__setitem__(0, entry("s02", ((3, 1), (1, 3)))),
    )
    with pytest.raises(DataError, match="seed 0, fold 1 were tested on different windows of subject s02"):
        read_sweep(folder)


def test_subject_in_two_folds_of_a_subject_wise_split_is_refused(sweep, cell, edit, entry) -> None:
    folder = sweep()
    for method in ("teacher", "student", "kd", "kd-feedback"):
        edit(
            cell(folder, "arousal", 0, 1, method),
            lambda data: data["test"]["subjects"].append(entry("s01", ((3, 1), (1, 3)))),
        )
    with pytest.raises(DataError, match="s01 is tested in folds 0 and 1 of arousal, seed 0"):
        read_sweep(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(format=9), "another version"),
        (lambda data: data.pop("seeds"), "has no 'seeds'"),
        (lambda data: data.update(seeds=["0"]), "not a whole number"),
        (lambda data: data.update(methods=[]), "methods must name"),
        (lambda data: data.update(targets=["arousal", "arousal"]), "each once"),
        (lambda data: data.update(folds="four"), "folds is not a whole number"),
        (lambda data: data.update(config=None), "config is not a dict"),
        (lambda data: data.update(note=float("nan")), "NaN is not a number"),
    ],
)
def test_damaged_plan_is_refused_in_one_sentence(sweep, edit, change, message) -> None:
    folder = sweep()
    edit(folder / "sweep.json", change)
    with pytest.raises(ConfigError, match=message):
        read_sweep(folder)


def test_folder_without_a_sweep_is_refused_in_one_sentence(tmp_path) -> None:
    with pytest.raises(ConfigError, match="not a sweep"):
        read_sweep(tmp_path)
    (tmp_path / "sweep.json").write_text(json.dumps([1]))
    with pytest.raises(ConfigError, match="another version"):
        read_sweep(tmp_path)
