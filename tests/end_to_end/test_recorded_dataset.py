"""From sensors to a trained student: record, make a folder of recordings and rated trials, list it, train."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.cli.recording.main import main as recording
from ekd_edge.recording.recorder import Recorder
from ekd_edge.signal.blocks import SampleBlock, TimeAnchor
from ekd_train.cli.main import main as train
from ekd_train.data.source import open_dataset
from ekd_train.run import Run
from tests.helpers.edge_command import edge

WEARERS = ("anna", "ben", "eve")
RATINGS = {"calm": "1,5", "tense": "4,5"}
TRIAL_S = 8


@pytest.mark.parametrize(("lost", "off"), [(3, 0), (256, 0), (60 * 128, 128)])
def test_gaps_of_a_recording_are_gaps_of_the_dataset(tmp_path: Path, lost: int, off: int) -> None:
    """Lost samples and samples with electrodes off keep their place; trials after them are where they were."""
    values = 5 + np.cumsum(np.random.default_rng(1).normal(scale=0.01, size=40 * 128 + lost + off))
    recorder = Recorder(tmp_path / "kept", {"run": "a", "wearer": "anna"}, print)
    edges = (0, 1280, 1280 + lost, 1280 + lost + off, len(values))
    for first, end in ((edges[0], edges[1]), (edges[2], edges[3]), (edges[3], edges[4])):
        found = SampleBlock(values[first:end], first, Fraction(128), anchor=TimeAnchor(0, 1.8e9))
        recorder.observe(replace(found, lead_off=end == edges[3]))
    recorder.finish()
    end_s = len(values) / 128
    trials = f"start,end,arousal\n{1.8e9 + 2},{1.8e9 + 8},3\n{1.8e9 + end_s - 9},{1.8e9 + end_s},7\n"
    (tmp_path / "trials.csv").write_text(trials)
    out = tmp_path / "mine"
    assert recording(["dataset", str(tmp_path / "kept"), str(out), "--trials", str(tmp_path / "trials.csv")]) == 0
    (found_recording,) = open_dataset(f"recordings:{out}").dataset.read(["anna"])
    missing = np.zeros(len(values), np.bool_)
    missing[edges[1] : edges[3]] = True
    assert found_recording.lost is not None
    np.testing.assert_array_equal(found_recording.lost, missing)
    np.testing.assert_allclose(found_recording.gsr[~missing], values[~missing], rtol=1e-6)
    assert [trial.start_s for trial in found_recording.trials] == pytest.approx([2, end_s - 9], abs=2e-3)


@pytest.mark.slow
def test_recordings_of_sensors_train_a_student(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, out = tmp_path / "kept", tmp_path / "mine"
    ports = [f"sim://?seconds=20&seed={number},wearer={wearer}" for number, wearer in enumerate(WEARERS)]
    options = [option for port in ports for option in ("--port", port)]
    done = edge("--model", "demo", "--json", "--record", kept, *options)
    assert done.returncode == 0, done.stderr
    starts = []
    for folder in sorted(kept.iterdir()):
        assert recording(["info", str(folder), "--json"]) == 0
        starts.append(datetime.fromisoformat(json.loads(capsys.readouterr().out)["stretches"][0]["utc"]))
    rows = [
        f"{(max(starts) + timedelta(seconds=begin)).isoformat()};"
        f"{(max(starts) + timedelta(seconds=begin + TRIAL_S)).isoformat()};{name};{rating};felt well"
        for begin, (name, rating) in zip((0.5, 10), RATINGS.items(), strict=True)
    ]
    (tmp_path / "trials.csv").write_text("\n".join(["start;end;trial;arousal (1..5);notes", *rows]))
    assert recording(["dataset", str(kept), str(out), "--trials", str(tmp_path / "trials.csv")]) == 0
    assert train(["data", "--data", f"recordings:{out}"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-3:] == list(WEARERS)
    assert "columns of labels.csv without ratings are ignored: notes" in printed.err

    for found in open_dataset(f"recordings:{out}").dataset.read(WEARERS):
        assert (found.rate_hz, found.gsr_unit, len(found.gsr)) == (128, "uS", 20 * 128)
        assert [(trial.name, trial.ratings) for trial in found.trials] == [
            ("calm", {"arousal": 2.0}),
            ("tense", {"arousal": 8.0}),
        ]
        assert [trial.end_s - trial.start_s for trial in found.trials] == pytest.approx([TRIAL_S] * 2, abs=0.5)

    changes = ["student.epochs=1", "signal.window_s=4", "signal.training_hop_s=1", "network.student_filters=8"]
    arguments = ["--preset", "smoke", "--data", f"recordings:{out}", "--output", str(tmp_path / "run")]
    arguments += [part for change in changes for part in ("--set", change)]
    assert train([*arguments, "--device", "cpu", "--threads", "1"]) == 0
    run = Run.load(tmp_path / "run")
    assert (run.synthetic, run.has_eeg) == (False, False)
    assert run.results["student"]["test"]["subjects"] == 1
