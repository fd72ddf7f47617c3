"""From sensors to a trained student: record, make a folder of recordings and rated trials, list it, train."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ekd_edge.cli.recording.main import main as recording
from ekd_train.cli.main import main as train
from ekd_train.data.source import open_dataset
from ekd_train.run import Run
from tests.helpers.edge_command import edge

WEARERS = ("anna", "ben", "eve")
RATINGS = {"calm": "1,5", "tense": "4,5"}
TRIAL_S = 8


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
