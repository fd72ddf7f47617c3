import json

import numpy as np
import pytest

from ekd_edge.sources.sensor import SensorOptions
from ekd_export.report.plot_recording import draw, main, read_predictions, read_signal, read_trials

LABELS = "recording,subject,trial,start_s,end_s,arousal\nrec,s1,t1,0,20,8\nrec,s1,t2,20,60,2\nother,s2,t1,0,9,3\n"


def _line(time: float, high: float, label: str | None = "low") -> str:
    target = {"probabilities": [1 - high, high], "label": label}
    return json.dumps({"first_index": 0, "time": time, "targets": {"arousal": target}, "quality": 1.0}) + "\n"


@pytest.fixture
def folder(tmp_path):
    values = 3 + np.sin(np.arange(960) / 40)
    body = "".join(f"{value}\n" for value in values)
    (tmp_path / "rec.csv").write_text(f"# rate_hz: 16\n# unit: uS\ngsr\n{body}")
    (tmp_path / "labels.csv").write_text(LABELS)
    predictions = [_line(t, t / 60) for t in range(10, 60, 5)]
    (tmp_path / "p.jsonl").write_text("".join([*predictions, _line(60, 0.9, None)]))
    return tmp_path


def test_command_writes_a_png(folder, capsys) -> None:
    arguments = ["--signal", folder / "rec.csv", "--predictions", folder / "p.jsonl", "-o", folder / "out.png"]
    assert main([*map(str, arguments), "--synthetic"]) == 0
    assert (folder / "out.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.strip() == str(folder / "out.png")


def test_plot_shows_signal_predictions_ratings_and_synthetic(folder) -> None:
    times, values = read_signal(folder / "rec.csv", SensorOptions())
    windows, trials = read_predictions(folder / "p.jsonl"), read_trials(folder / "rec.csv")
    assert (len(times), times[-1]) == (960, pytest.approx(959 / 16))
    assert [window.withheld for window in windows] == [False] * 10 + [True]
    figure = draw(times, values, windows, trials=trials, synthetic=True)
    signal, arousal = figure.axes
    assert "µS" in signal.get_ylabel()
    assert "arousal" in arousal.get_ylabel()
    assert "synthetic" in figure.get_suptitle()
    assert arousal.get_legend_handles_labels()[1] == [
        "predicted high", "predicted low", "withheld (bad signal)", "rated high", "rated low",
    ]  # fmt: skip
    assert "synthetic" not in draw(times, values, windows).get_suptitle()


def test_gap_is_not_drawn_over(tmp_path) -> None:
    lines = [f"{index * 100},{1 + index % 3}" for index in (*range(50), *range(300, 350))]
    (tmp_path / "gap.csv").write_text("\n".join(lines) + "\n")
    from firmware_bridge.units import parse_unit

    times, values = read_signal(tmp_path / "gap.csv", SensorOptions(unit=parse_unit("uS")))
    assert np.isnan(values).sum() >= 1
    assert (np.diff(times) >= 0).all()


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("p.jsonl", "", "has no predictions"),
        ("p.jsonl", "{}\n", "line 1 is not a prediction"),
        ("p.jsonl", _line(10, 0.5) + "oops\n", "line 2 is not a prediction"),
        ("rec.csv", "", "empty"),
        ("labels.csv", "recording\n", "labels.csv"),
    ],
)
def test_bad_files_are_one_sentence(folder, capsys, name: str, content: str, complaint: str) -> None:
    (folder / name).write_text(content)
    arguments = ["--signal", folder / "rec.csv", "--predictions", folder / "p.jsonl", "-o", folder / "out.png"]
    assert main([*map(str, arguments)]) == 2
    err = capsys.readouterr().err
    assert complaint in err
    assert err.count("\n") == 1


def test_unknown_image_format_is_refused(folder, capsys) -> None:
    arguments = ["--signal", folder / "rec.csv", "--predictions", folder / "p.jsonl", "-o", folder / "out.doc"]
    assert main([*map(str, arguments)]) == 2
    assert ".png" in capsys.readouterr().err
