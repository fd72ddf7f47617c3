"""Reports: figures, warnings, verdicts, and rendering from report.json."""

import json
import os
import random
import shutil
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekd_edge.errors import ConfigError, DataError
from ekd_train.cli.main import main as train_main
from ekd_train.report import read_report, render_text, write_report
from ekd_train.report.__main__ import main
from ekd_train.report.build import build_report
from ekd_train.report.collect import Sweep, read_sweep
from ekd_train.report.notes import verdict


def comparison(report, method, reference, score="accuracy", target="arousal"):
    (found,) = (
        c
        for c in report["comparisons"]
        if (c["method"], c["reference"], c["score"], c["target"]) == (method, reference, score, target)
    )
    return found


def first_line(text: str) -> str:
    return text.splitlines()[0]


@pytest.fixture
def report_of():
    """Return the report of a folder as parsed JSON, without plots."""
    return lambda folder: json.loads(json.dumps(build_report(read_sweep(folder)), allow_nan=False))


def test_figures_equal_a_computation_by_hand(sweep, cell, edit, entry, report_of) -> None:
    folder = sweep(people=2, folds=2, split="k-fold:2", seeds=[0, 1], methods=["student", "kd"])
    right = {  # (subject, seed): windows right of 10, for student and kd
        ("s01", 0): (5, 6), ("s01", 1): (7, 8), ("s02", 0): (4, 8), ("s02", 1): (6, 8),
    }  # fmt: skip
    for (subject, seed), scores in right.items():
        for method, hits in zip(("student", "kd"), scores, strict=True):
            file = cell(folder, "arousal", seed, int(subject[1:]) - 1, method)
            confusion = ((hits - hits // 2, 4 - hits + hits // 2), (6 - hits // 2, hits // 2))
            edit(file, lambda data, s=subject, c=confusion: data["test"].update(subjects=[entry(s, c)]))
    report = report_of(folder)
    student = report["targets"]["arousal"]["methods"]["student"]
    assert [subject["accuracy"] for subject in student["subjects"]] == pytest.approx([0.6, 0.5])
    assert student["accuracy"]["mean"] == pytest.approx(0.55)
    assert student["accuracy"]["sd"] == pytest.approx(0.1 / np.sqrt(2))
    assert student["seeds"]["accuracy"]["means"] == pytest.approx({"0": 0.45, "1": 0.65})
    assert report["targets"]["arousal"]["windows_by_class"] == {"low": 8, "high": 12}
    assert report["targets"]["arousal"]["larger_class"]["label"] == "high"
    assert report["targets"]["arousal"]["larger_class"]["accuracy"]["mean"] == pytest.approx(0.6)
    gain = comparison(report, "kd", "student")
    # differences by subject 0.1 and 0.3: mean 0.2, sd 0.1414, half = t(0.975, 1) * 0.1
    assert gain["mean"] == pytest.approx(0.2)
    assert gain["half_width"] == pytest.approx(12.7062047 * 0.1)
    assert gain["by_seed"]["means"] == pytest.approx({"0": 0.25, "1": 0.15})
    assert [each["mean"] for each in gain["differences"]] == pytest.approx([0.1, 0.3])
    assert not gain["shown"]
    assert "no difference could be shown" in render_text(report)


def test_text_contains_every_figure(sweep, report_of) -> None:
    report = report_of(sweep(targets=["arousal", "valence"], preset="paper", environment={"torch": "2.13", "ray": "2"}))
    text = render_text(report)
    assert "- preset: paper\n- environment: torch 2.13, ray 2\n" in text
    for target in ("arousal", "valence"):
        scores = report["targets"][target]["methods"]["kd"]
        assert f"{100 * scores['accuracy']['mean']:.1f} ± {100 * scores['accuracy']['sd']:.1f} / " in text
        assert f"{100 * comparison(report, 'kd', 'student', target=target)['half_width']:.2f}" in text
        assert f"{target}: {report['targets'][target]['windows']} test windows of 8 subjects" in text
    for message in (
        "k-fold:4 (4 folds)",
        "4 s at 128 Hz, every 1 s",
        "above 5, else low",
        "every subject has the same weight",
    ):
        assert message in text
    assert report["sweep"]["config_sha256"] in text
    assert report["versions"]["scipy"] in text


def test_verdict_shows_a_real_gain_and_no_other(sweep, report_of) -> None:
    gains = {"student": 0.0, "kd": 0.08, "kd-feedback": 0.08, "teacher": 0.15}
    report = report_of(sweep(people=16, folds=4, windows=300, gains=gains, split="k-fold:4"))
    assert verdict(comparison(report, "kd", "student")) == "better"
    assert verdict(comparison(report, "kd-feedback", "kd")) == "no difference could be shown"
    fallen = report_of(sweep("fallen", people=16, folds=4, windows=300, gains=gains | {"kd": -0.08}, split="k-fold:4"))
    assert verdict(comparison(fallen, "kd", "student")) == "worse"


def test_verdict_needs_the_corrected_test(sweep, report_of) -> None:
    report = report_of(sweep(people=16, folds=4))
    for each in report["comparisons"]:
        assert (each["t_p_holm"] is not None and each["t_p_holm"] < 0.05) == each["shown"]
        assert each["t_p_holm"] >= each["t_p"]
        claimed = verdict(each).startswith(("better", "worse"))
        assert claimed == each["shown"]
    once = comparison(report, "kd", "student") | {"t_p": 0.03, "t_p_holm": 0.06, "shown": False}
    assert verdict(once) == "no difference could be shown"
    doubtful = once | {"t_p_holm": 0.04, "shown": True, "wilcoxon_p_holm": 0.3, "mean": 0.1}
    assert verdict(doubtful) == "better, though not by signed ranks"


def test_holm_covers_all_targets_and_scores_of_a_family(sweep, report_of) -> None:
    from ekd_train.report.statistics import holm

    report = report_of(sweep(targets=["arousal", "valence"]))
    for family, count in (("methods", 16), ("larger-class", 16)):
        members = [each for each in report["comparisons"] if each["family"] == family]
        assert len(members) == count
        assert [each["t_p_holm"] for each in members] == pytest.approx(holm([each["t_p"] for each in members]))


def test_leaky_sweep_starts_with_its_warning(sweep, report_of) -> None:
    folder = sweep(split="trial-leaky", folds=2)
    report = write_report(folder)
    line = first_line(render_text(report))
    assert line.startswith("LEAKY SPLIT")
    assert "the same people are in training and test" in line
    assert "overstates accuracy" in line
    assert "must not be compared with subject-wise results" in line
    assert first_line((folder / "report.md").read_text(encoding="utf-8")) == line
    written = (folder / "report.json").read_text(encoding="utf-8")
    assert list(report)[:2] == ["notice", "leaky"]
    assert written.splitlines()[1].startswith(' "notice": "LEAKY SPLIT')
    assert report["leaky"] is True
    tables = [line for line in render_text(report).splitlines() if line.startswith("## ") and "Acc" in line]
    assert tables
    assert all("LEAKY SPLIT" in table for table in tables)


def test_leaky_subject_has_one_score_per_seed_over_all_folds(sweep, report_of) -> None:
    report = report_of(sweep(split="trial-leaky", folds=2, people=3))
    single = report_of(sweep("single", split="trial-leaky", folds=1, people=3))
    two, one = (each["targets"]["arousal"]["methods"]["student"]["subjects"] for each in (report, single))
    assert [subject["seeds"] for subject in two] == [2, 2, 2]
    assert [subject["windows"] for subject in two] == [2 * subject["windows"] for subject in one]


def test_unfinished_leaky_sweep_compares_the_same_windows(sweep, cell, report_of) -> None:
    folder = sweep(split="trial-leaky", folds=2, seeds=[0], people=4)
    cell(folder, "arousal", 0, 1, "kd").unlink()
    only = sweep("only", split="trial-leaky", folds=2, seeds=[0], people=4)
    for method in ("teacher", "student", "kd", "kd-feedback"):
        cell(only, "arousal", 0, 1, method).unlink()
    half, first_fold = (comparison(report_of(each), "kd", "student") for each in (folder, only))
    assert half["differences"] == first_fold["differences"]
    assert half["mean"] == first_fold["mean"]


def test_synthetic_data_is_named_in_the_first_line_and_at_every_table(sweep, report_of) -> None:
    report = report_of(sweep(synthetic=True, dataset="synthetic", data="synthetic?subjects=8"))
    text = render_text(report)
    assert first_line(text) == "SYNTHETIC DATA: no person was measured."
    headings = [line for line in text.splitlines() if line.startswith("## ") and "|" in text.split(line)[1][:200]]
    assert len(headings) >= 4
    assert all("SYNTHETIC" in heading for heading in headings)
    real = render_text(report_of(sweep("real")))
    assert "ynthetic" not in real
    assert "SYNTHETIC" not in real
    assert first_line(real).startswith("# Sweep over deap:")


def test_incomplete_sweep_counts_results_and_names_missing_ones(sweep, cell, report_of) -> None:
    folder = sweep(synthetic=True)
    cell(folder, "arousal", 0, 1, "kd").unlink()
    cell(folder, "arousal", 1, 1, "teacher").write_text('{"format": 1, ')
    text = render_text(report_of(folder))
    assert first_line(text) == "INCOMPLETE: 30 of 32 results. SYNTHETIC DATA: no person was measured."
    assert "1 missing:\n\n- cells/arousal-seed0-fold01/kd.json" in text
    assert "1 damaged:\n\n- cells/arousal-seed1-fold01/teacher.json: is not JSON" in text


def test_plan_without_results_is_reported(sweep) -> None:
    folder = sweep()
    shutil.rmtree(folder / "cells")
    report = write_report(folder)
    assert first_line(render_text(report)) == "INCOMPLETE: 0 of 32 results."
    assert "... and 12 more, named in report.json" in render_text(report)
    assert len(report["progress"]["missing"]) == 32
    assert not (folder / "plots").exists()


def test_subject_of_only_one_method_is_not_compared(sweep, cell, report_of) -> None:
    folder = sweep(folds=8, split="leave-one-out", seeds=[0])
    cell(folder, "arousal", 0, 3, "kd").unlink()
    report = report_of(folder)
    assert comparison(report, "kd", "student")["subjects"] == 7
    assert comparison(report, "teacher", "student")["subjects"] == 8
    assert "over 7 subjects x 1 seed or 8 subjects x 1 seed" in render_text(report)


def test_published_figures_appear_for_deap_and_hci_only(sweep, report_of) -> None:
    targets = ["arousal", "valence"]
    deap = render_text(report_of(sweep("deap", targets=targets)))
    assert "ACM Multimedia 2023" in deap
    titles = [line.split("|")[1].strip() for line in deap.splitlines() if line.startswith("| ")]
    for method, row in (("KD + feedback", "EmotionKD, distilled student (GSR)"), ("Teacher (EEG + GSR)",) * 2):
        assert titles[titles.index(method) + 1] == f"Published: {row}"
    row = next(line for line in deap.splitlines() if "Published: EmotionKD" in line)
    assert [part.strip() for part in row.split("|")[2:4]] == ["55.06 / 53.50", "69.18 / 68.33"]
    hci = render_text(report_of(sweep("hci", dataset="hci", data="hci:/data", targets=["valence", "dominance"])))
    row = next(line for line in hci.splitlines() if "Published: CRD" in line)
    assert [part.strip() for part in row.split("|")[2:4]] == ["55.35 / 54.29", "–"]
    assert hci.count("Published: ") == 5 + 1
    for dataset in ("synthetic", "recordings"):
        report = report_of(sweep(dataset, dataset=dataset))
        assert report["published"] is None
        assert "ublished" not in render_text(report)


def test_states_and_windows_left_out_are_reported(sweep, cell, edit, report_of) -> None:
    folder = sweep(methods=["student", "kd"], seeds=[0])

    def measured(data: dict[str, Any]) -> None:
        subjects = len(data["test"]["subjects"])
        data["test"]["states"] = {
            "carried": {"accuracy": 0.7, "macro_f1": 0.6, "windows": 100, "subjects": subjects},
            "restarted": {
                "accuracy": 0.5 + data["fold"] / 10,
                "macro_f1": 0.4,
                "loss": 0.6,
                "windows": 90,
                "subjects": 2,
            },
        }
        sides = {side: {"left_out": 3, "windows": 100} for side in ("training", "validation", "test")}
        data["signal_quality"] = {"keep_bad_windows": False, "sides": sides}

    for fold in range(4):
        edit(cell(folder, "arousal", 0, fold, "student"), measured)
    report = report_of(folder)
    target = report["targets"]["arousal"]
    assert target["methods"]["student"]["states"]["restarted"]["accuracy"] == pytest.approx(0.65)
    assert target["methods"]["kd"]["states"] == {}
    assert target["signal_quality"]["test"] == {"left_out": 12, "windows": 400}
    text = render_text(report)
    row = next(line for line in text.splitlines() if line.startswith("| arousal | Student (GSR) | 70.0 / 60.0"))
    assert "65.0 / 40.0" in row
    assert "left out for signal quality: 36 of 1,200 windows (3.0%): training 12 of 400 (3.0%)" in text


def test_report_of_one_subject_one_seed_and_one_method(sweep) -> None:
    folder = sweep(people=1, folds=1, seeds=[3], methods=["student"], split="holdout", dataset="recordings")
    report = write_report(folder)
    text = render_text(report)
    assert "(no interval)" in text
    assert "cannot be tested" in text
    assert "1 test subject, 1 seed, holdout (1 fold)" in text
    assert report["targets"]["arousal"]["methods"]["student"]["accuracy"]["sd"] is None


def test_diverged_run_is_named(sweep, cell, edit, report_of) -> None:
    folder = sweep()
    edit(cell(folder, "arousal", 1, 0, "kd"), lambda data: data["test"].update(loss=float("nan")))
    edit(cell(folder, "arousal", 1, 0, "kd"), lambda data: data["history"][0]["losses"].update(hard=float("inf")))
    report = report_of(folder)
    assert report["progress"]["diverged"] == ["arousal-seed1-fold00/kd"]
    assert "arousal-seed1-fold00/kd" in render_text(report)


def test_unknown_methods_are_reported_like_any_other(sweep, report_of) -> None:
    text = render_text(report_of(sweep(methods=["student", "mixup|strong"], gains={})))
    assert "mixup\\|strong vs Student" in text


def test_rule_for_high_is_that_of_the_configuration(sweep, edit, report_of) -> None:
    folder = sweep()
    edit(folder / "sweep.json", lambda data: data["config"].update(threshold=4.5, high="at-or-above"))
    assert "its rating is at or above 4.5, else low" in render_text(report_of(folder))


def test_report_json_alone_renders_the_same_text(sweep, tmp_path) -> None:
    folder = sweep(targets=["arousal", "valence"], methods=["student", "kd"])
    report = write_report(folder)
    text = render_text(report)
    shutil.move(folder / "report.json", tmp_path / "moved.json")
    shutil.rmtree(folder)
    assert render_text(read_report(tmp_path / "moved.json")) == text
    assert read_report(tmp_path / "moved.json") == report


def test_report_is_reproducible_from_the_same_files(sweep) -> None:
    folder = sweep(methods=["student", "kd"])
    write_report(folder)
    first = {path: path.read_bytes() for path in folder.glob("report.*")}
    write_report(folder)
    assert first == {path: path.read_bytes() for path in folder.glob("report.*")}
    assert not list(folder.rglob("*.part"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, request) -> Sweep:
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    request.getfixturevalue("make")(folder, seeds=[0, 1], split="trial-leaky", folds=2)
    return read_sweep(folder)


@settings(max_examples=20, deadline=None)
@given(st.randoms())
def test_report_does_not_depend_on_the_order_of_files(whole: Sweep, chance: random.Random) -> None:
    cells = list(whole.cells)
    chance.shuffle(cells)
    shuffled = Sweep(whole.plan, tuple(cells), whole.missing, whole.damaged, whole.foreign)
    assert json.dumps(build_report(shuffled)) == json.dumps(build_report(whole))


@pytest.mark.parametrize("content", ["", "[]", '{"format": 99}', '{"form'])
def test_damaged_report_is_refused(tmp_path, content) -> None:
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(ConfigError, match="ekd-train report FOLDER"):
        read_report(tmp_path)


def test_missing_report_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_report(tmp_path)


def test_report_that_cannot_be_written_is_refused_in_one_sentence(sweep) -> None:
    folder = sweep()
    (folder / f".report.json.{os.getpid()}.part").mkdir()
    with pytest.raises(ConfigError, match=r"cannot write .*report.json"):
        write_report(folder)


def test_folder_of_mixed_sweeps_is_refused(sweep, cell, edit, entry) -> None:
    folder = sweep()
    again = entry("s02", ((1, 0), (0, 1)))
    edit(cell(folder, "arousal", 0, 0, "kd"), lambda data: data["test"]["subjects"].append(again))
    with pytest.raises(DataError, match="s02"):
        write_report(folder)


def test_report_commands_print_the_same_report(sweep, tmp_path, capsys) -> None:
    folder = sweep(synthetic=True, methods=["student"])
    assert main([str(folder)]) == 0
    printed = capsys.readouterr().out
    assert first_line(printed) == "SYNTHETIC DATA: no person was measured."
    assert train_main(["report", str(folder)]) == 0
    assert capsys.readouterr().out == printed
    assert train_main(["report", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == read_report(folder)
    for command in (main, lambda arguments: train_main(["report", *arguments])):
        assert command([str(tmp_path / "nowhere")]) == 2
        error = capsys.readouterr().err
        assert "is not a sweep" in error
        assert "Traceback" not in error
