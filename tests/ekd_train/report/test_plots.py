import sys

import numpy as np
import pytest
from matplotlib.image import imread

from ekd_edge.errors import ConfigError
from ekd_train.report import write_report
from ekd_train.report.build import build_report
from ekd_train.report.collect import read_sweep
from ekd_train.report.notes import verdict
from ekd_train.report.plots import DPI, draw_plots, plot_names


def heading(figure) -> str:
    return figure.get_suptitle()


def test_plots_are_drawn_and_linked_in_the_text(sweep) -> None:
    folder = sweep(targets=["arousal", "valence"])
    report = write_report(folder)
    kinds = ("scores", "training", "confusion", "differences")
    names = [f"{kind}-{target}.png" for kind in kinds for target in ("arousal", "valence")]
    assert plot_names(report) == names
    assert sorted(path.name for path in (folder / "plots").iterdir()) == sorted(names)
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    for name, figure in draw_plots(report):
        pixels = imread(folder / "plots" / name)
        height, width = pixels.shape[:2]
        assert (width, height) == pytest.approx(figure.get_size_inches() * DPI, abs=1)
        assert width >= 800
        assert height >= 400
        assert len(np.unique(pixels[::3, ::3, :3].reshape(-1, 3), axis=0)) > 20
        assert f"](plots/{name})" in markdown


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "trial-leaky", "folds": 1}, ["LEAKY SPLIT: same people in training and test"]),
        ({"split": "trial-leaky", "folds": 1, "synthetic": True}, ["LEAKY SPLIT: same people", "SYNTHETIC"]),
        ({"synthetic": True}, ["SYNTHETIC"]),
        ({}, []),
    ],
)
def test_plot_titles_carry_the_warnings(sweep, changes, message) -> None:
    report = build_report(read_sweep(sweep(**changes)))
    for _, figure in draw_plots(report):
        assert all(words in heading(figure) for words in message)
        assert ("LEAKY" in heading(figure)) == ("LEAKY" in " ".join(message))
        assert ("SYNTHETIC" in heading(figure)) == ("SYNTHETIC" in " ".join(message))


def test_plot_titles_of_an_incomplete_sweep_say_so(sweep, cell) -> None:
    folder = sweep()
    cell(folder, "arousal", 0, 0, "kd").unlink()
    for _, figure in draw_plots(build_report(read_sweep(folder))):
        assert "[INCOMPLETE: 31 of 32]" in heading(figure)


def test_differences_plot_is_sorted_and_carries_its_verdict(sweep) -> None:
    report = build_report(read_sweep(sweep(folds=8, split="leave-one-out")))
    figures = dict(draw_plots(report))
    panels = [axis for axis in figures["differences-arousal.png"].axes if axis.get_title()]
    assert [axis.get_title().splitlines()[0] for axis in panels] == [
        "KD vs Student",
        "KD + feedback vs Student",
        "KD + feedback vs KD",
        "Teacher vs Student",
    ]
    drawn = panels[0].collections[-1].get_offsets()[:, 1]
    due = next(c for c in report["comparisons"] if (c["method"], c["reference"]) == ("kd", "student"))
    assert list(drawn) == pytest.approx(sorted(100 * each["mean"] for each in due["differences"]))
    assert panels[0].get_title().splitlines()[-1] == verdict(due)
    assert panels[0].get_ylim() == panels[2].get_ylim()


def test_confusion_plot_shows_shares_of_the_true_class(sweep, cell, edit, entry) -> None:
    folder = sweep(people=1, folds=1, seeds=[0], methods=["student"], split="holdout")
    subjects = [entry("s01", ((30, 10), (5, 15)))]
    edit(cell(folder, "arousal", 0, 0, "student"), lambda data: data["test"].update(subjects=subjects))
    figures = dict(draw_plots(build_report(read_sweep(folder))))
    texts = [text.get_text() for text in figures["confusion-arousal.png"].axes[0].texts]
    assert texts == ["75.0%", "30", "25.0%", "10", "25.0%", "5", "75.0%", "15"]


def test_training_curve_is_the_mean_over_runs_with_that_epoch(sweep, cell, edit) -> None:
    folder = sweep(folds=2, split="k-fold:2", seeds=[0], methods=["student"])
    for fold, scores in enumerate(([0.5, 0.6, 0.7], [0.7, 0.8])):

        def change(data, scores=scores):
            data["history"] = data["history"][: len(scores)]
            for record, score in zip(data["history"], scores, strict=True):
                record["validation"]["accuracy"] = score
            data["best_epoch"] = len(scores) - 1

        edit(cell(folder, "arousal", 0, fold, "student"), change)
    report = build_report(read_sweep(folder))
    training = report["targets"]["arousal"]["methods"]["student"]["training"]
    assert [point["runs"] for point in training["curve"]] == [2, 2, 1]
    figures = dict(draw_plots(report))
    line = figures["training-arousal.png"].axes[0].lines[0]
    assert list(line.get_ydata()) == pytest.approx([60, 70, 70])
    assert list(line.get_xdata()) == [1, 2, 3]
    assert training["best_is_last"] == 2
    assert training["best_epoch"] == {"median": 2.5, "least": 2, "greatest": 3}


def test_training_plot_is_left_out_without_a_history(sweep, edit) -> None:
    folder = sweep(methods=["student"])
    for file in folder.glob("cells/*/*.json"):
        edit(file, lambda data: data.update(history=[]))
    assert plot_names(build_report(read_sweep(folder))) == ["scores-arousal.png", "confusion-arousal.png"]


def test_missing_matplotlib_does_not_prevent_the_other_files(sweep, monkeypatch) -> None:
    folder = sweep()
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match="pip install"):
        write_report(folder)
    assert (folder / "report.json").is_file()
    assert (folder / "report.md").is_file()
