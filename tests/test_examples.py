"""The examples run as their docstrings describe."""

import json
import os
import subprocess
import sys
import tomllib
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from ekd_train.cli.main import main
from ekd_train.data.source import open_dataset
from ekd_train.run import Run
from firmware_bridge.synthesis import simulated_blocks
from tests.helpers.paths import ROOT

EXAMPLES = ROOT / "examples"
DATA = Path(os.environ.get("EKD_DATA", ROOT.parent / "shared" / "data"))


def run(*arguments: object, path: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run Python with these arguments, and with the packages in the folder `path`."""
    found = [*([str(path)] if path else []), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(found)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)


def installed(example: str, folder: Path) -> Path:
    """The folder with the example's modules and metadata, as after an installation without a network."""
    project = tomllib.loads((EXAMPLES / example / "pyproject.toml").read_text())
    for name in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]:
        (folder / name).write_bytes((EXAMPLES / example / name).read_bytes())
    about = project["project"]
    metadata = folder / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    lines = [
        line
        for group, entries in about["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def converted(script: str, dataset: str, out: Path, recordings: int) -> Path:
    """The folder of recordings that an example makes of a dataset."""
    if not (DATA / dataset).is_dir():
        pytest.skip(f"the dataset {dataset} is not there: {DATA} (set EKD_DATA to the folder that holds it)")
    done = run(EXAMPLES / script, DATA / dataset, out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == recordings
    return out


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted("stress_predict.py", "stress_predict_eda", tmp_path_factory.mktemp("stress") / "mine", 34)


@pytest.fixture(scope="module")
def matches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted("esports.py", "esports_sensors", tmp_path_factory.mktemp("esports") / "mine", 30)


def test_stress_predict_becomes_recordings(mine: Path) -> None:
    source = open_dataset(f"recordings:{mine}")
    assert len(source.subjects) == 34
    assert (source.targets, source.has_eeg, source.synthetic) == (("stress",), False, False)
    (recording,) = source.dataset.read(["S02"])
    assert recording.rate_hz == 4
    stressed = [trial for trial in recording.trials if trial.ratings["stress"] > 5]
    assert len(stressed) == 3
    assert all(one.end_s <= other.start_s for one, other in zip(recording.trials, recording.trials[1:], strict=False))


def test_student_of_stress_predict_has_no_teacher(mine: Path, tmp_path: Path) -> None:
    arguments = ["--preset", "smoke", "--data", f"recordings:{mine}", "--target", "stress", "--out", tmp_path / "run"]
    changes = ["student.epochs=1", "signal.training_hop_s=64", "network.filters=8", "network.ffn=8"]
    arguments += [part for change in changes for part in ("--set", change)]
    assert main([str(argument) for argument in (*arguments, "--device", "cpu", "--threads", 1)]) == 0
    run = Run.load(tmp_path / "run")
    assert not run.synthetic
    assert not run.has_eeg
    assert run.results["student"]["test"]["subjects"] == len(run.subject_split.test)


def test_esports_becomes_recordings_with_eeg(matches: Path) -> None:
    source = open_dataset(f"recordings:{matches}")
    assert source.subjects == ("amateurs-1", "amateurs-2", "amateurs-3", "amateurs-4", "pros-3", "pros-4")
    assert (source.targets, source.has_eeg, source.synthetic) == (("death",), True, False)
    recordings = {recording.name: recording for recording in source.dataset.read(source.subjects)}
    assert not {name for name in recordings if name.startswith(("match07", "match14", "match16"))}
    assert not {"match11-amateurs-4", "match17-amateurs-3"} & set(recordings)
    found = recordings["match08-pros-3"]
    assert (found.rate_hz, len(found.gsr), len(found.channels)) == (1, 1523, 25)
    assert found.channels[:2] == ("AF3_theta", "AF3_alpha")
    assert found.eeg is not None
    np.testing.assert_allclose([found.gsr[0], found.eeg[0, 0]], [1e6 / 22754.48100162885, np.log(8.109 + 1e-3)])
    deaths = [trial for trial in found.trials if trial.ratings["death"] > 5]
    assert len(deaths) == 6
    assert deaths[0].start_s == pytest.approx(215.925 - 9 - 5)
    assert {round(trial.end_s - trial.start_s, 6) for trial in found.trials} == {40.0}
    for recording in recordings.values():
        times = recording.trials
        assert all(one.end_s <= other.start_s for one, other in pairwise(times))


def test_esports_distills_a_student_and_replays(matches: Path, tmp_path: Path) -> None:
    arguments = ["--preset", "smoke", "--data", f"recordings:{matches}", "--target", "death", "--out", tmp_path / "run"]
    changes = ["signal.rate_hz=1", "signal.cutoff_hz=0.4", "signal.eeg_features=raw", "signal.training_hop_s=8"]
    changes += ["teacher.epochs=1", "student.epochs=1", "network.filters=8", "network.ffn=8"]
    arguments += [part for change in changes for part in ("--set", change)]
    assert main([str(argument) for argument in (*arguments, "--device", "cpu", "--threads", 1)]) == 0
    loaded = Run.load(tmp_path / "run")
    assert (loaded.has_eeg, loaded.synthetic) == (True, False)
    assert loaded.results["teacher"]["test"]["subjects"] == loaded.results["student"]["test"]["subjects"]
    done = run("-m", "ekd_edge", "--replay", matches / "match08-pros-3.csv", "--model", "demo", "--json")
    assert done.returncode == 0, done.stderr
    assert "1523 samples received, 0 dropped, 0 rejected" in done.stderr


@pytest.mark.parametrize("script", ["stress_predict", "esports"])
def test_another_folder_is_refused_in_one_sentence(script: str, tmp_path: Path) -> None:
    done = run(EXAMPLES / f"{script}.py", tmp_path, tmp_path / "mine")
    assert done.returncode == 2
    assert done.stderr.startswith(f"{script}: ")
    assert done.stderr.count("\n") == 1
    assert run(EXAMPLES / f"{script}.py").returncode == 2


def test_readme_lists_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.iterdir():
        if path.suffix == ".py":
            assert f"({path.name})" in text
        elif (path / "pyproject.toml").is_file():
            assert f"({path.name}/)" in text


def test_live_prediction_prints_predictions_of_a_simulated_sensor() -> None:
    done = run(EXAMPLES / "live_prediction.py", "sim://?seconds=30&speed=10")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 5
    assert all("arousal" in line for line in done.stdout.splitlines())


def test_own_recordings_train_a_student(tmp_path: Path) -> None:
    done = run(EXAMPLES / "own_recordings.py", tmp_path / "mine", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert len(open_dataset(f"recordings:{tmp_path / 'mine'}").subjects) == 6
    loaded = Run.load(tmp_path / "run")
    assert not loaded.has_eeg
    test = loaded.results["student"]["test"]
    assert f"accuracy {test['accuracy']:.2f} on {test['subjects']} people" in done.stdout


def test_custom_sensor_predicts_by_its_name_and_by_auto(tmp_path: Path) -> None:
    path = installed("custom_sensor", tmp_path)
    for arguments in ([], ["--format", "skinlink"]):
        port = "sim://?format=skinlink&seconds=30&speed=10"
        done = run("-m", "ekd_edge", "--port", port, "--model", "demo", "--json", *arguments, path=path)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) > 5
        assert "arousal" in json.loads(done.stdout.splitlines()[-1])["targets"]


CHECK_SENSOR = """
import numpy as np
from firmware_bridge.devices.registry import find_format
from firmware_bridge.devices.stream import StreamOptions
from firmware_bridge.devices.waveform import Waveform

values = np.round(np.linspace(2.0, 9.0, 200), 3)
format = find_format("skinlink")
wire = b"".join(burst.data for burst in format.emulate(Waveform([values], 32)).bursts())
lines = wire.splitlines(keepends=True)


def places(wire, size):
    decoder = format.open(StreamOptions(live=False))
    blocks = [block for at in range(0, len(wire), size) for block in decoder.feed(wire[at : at + size])]
    blocks += decoder.finish()
    found = {(b.segment, b.first_index + i): v for b in blocks for i, v in enumerate(b.values.tolist())}
    return found, decoder.counts


whole, counts = places(wire, 4096)
assert list(whole.values()) == values.tolist() and (counts.samples, counts.dropped, counts.rejected) == (200, 0, 0)
assert all(places(wire, size) == (whole, counts) for size in (1, 3, 17))
lost, counts = places(b"".join(lines[:50] + [b"SL 5x\\r\\n"] + lines[51:]), 5)
assert lost.keys() == whole.keys() - {(0, 50)} and (counts.dropped, counts.rejected) == (1, 1)
restarted, counts = places(b"".join(lines[:50] + lines[:20]), 64)
assert {segment for segment, _ in restarted} == {0, 1} and counts.samples == 70
"""


def test_custom_sensor_counts_lost_lines_and_shows_restarts(tmp_path: Path) -> None:
    done = run("-c", CHECK_SENSOR, path=installed("custom_sensor", tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("wire", [b"7" * 100_000, b"hello world\r\n" * 10_000, bytes(100_000)])
def test_custom_sensor_refuses_other_bytes(tmp_path: Path, wire: bytes) -> None:
    (tmp_path / "wire").write_bytes(wire)
    path = installed("custom_sensor", tmp_path)
    done = run("-m", "ekd_edge", "--port", tmp_path / "wire", "--format", "skinlink", "--model", "demo", path=path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("ekd-edge: ")
    assert "Traceback" not in done.stderr


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """Four archives as the custom dataset reads them, of simulated skin conductance."""
    folder = tmp_path / "archives"
    folder.mkdir()
    for number in range(4):
        blocks = islice(simulated_blocks(16.0, number, 16), 80)
        trials = [(0, 40, 2), (40, 80, 8)]
        np.savez(folder / f"p{number}.npz", gsr=np.concatenate(list(blocks)), rate_hz=16, trials=trials)
    return folder


def test_custom_dataset_is_read_by_its_name(tmp_path: Path, archives: Path) -> None:
    path = installed("custom_dataset", tmp_path)
    done = run("-m", "ekd_train", "data", "--data", f"npz:{archives}", path=path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["p0", "p1", "p2", "p3"]
    data = ["data", "--data", f"npz:{archives}"]
    done = run("-m", "ekd_train", *data, "--subject", "p1", "--out", tmp_path / "out" / "p1.csv", path=path)
    assert done.returncode == 0, done.stderr
    (recording,) = open_dataset(f"recordings:{tmp_path / 'out'}").dataset.read(["p1"])
    assert recording.rate_hz == Fraction(16)
    assert [trial.ratings["arousal"] for trial in recording.trials] == [2, 8]
    np.testing.assert_array_equal(recording.gsr, np.load(archives / "p1.npz")["gsr"])


def test_custom_dataset_refuses_a_damaged_archive_in_one_sentence(tmp_path: Path, archives: Path) -> None:
    path = installed("custom_dataset", tmp_path)
    np.savez(archives / "p2.npz", gsr=np.ones(10))
    out = ["--subject", "p2", "--out", tmp_path / "p2.csv"]
    for data, extra, says in (
        (f"npz:{archives}", out, "p2.npz is not as the dataset's description says"),
        ("npz", [], "write npz:FOLDER"),
        (f"nzp:{archives}", [], "did you mean npz?"),
    ):
        done = run("-m", "ekd_train", "data", "--data", data, *extra, path=path)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert says in done.stderr
