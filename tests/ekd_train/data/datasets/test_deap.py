import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ekd_edge.errors import DataError
from ekd_train.cli.main import main
from ekd_train.config import load_preset
from ekd_train.data.datasets.deap import DeapDataset
from ekd_train.data.datasets.montage import EEG_28, EEG_32
from ekd_train.data.datasets.recordings import RecordingsDataset
from ekd_train.data.source import open_dataset

GSR = 36
CONFIG = load_preset("deap")
SIGNAL = CONFIG.signal.for_training(CONFIG.signal.gsr())
EEG_SIGNAL = CONFIG.signal.for_training(CONFIG.signal.eeg())

Write = Callable[..., tuple[NDArray[np.float64], NDArray[np.float64]]]


@pytest.fixture
def subject(tmp_path: Path, write_python2_pickle: Callable[..., None]) -> Write:
    """Write DEAP/data_preprocessed_python/NAME.dat of full size, and return its data and labels.

    GSR is a random walk about a resistance of 200 kOhm minus `level`. The other channels are noise in the first two
    trials and zero in the others, so that the file is small on disk.
    """
    (tmp_path / "DEAP" / "data_preprocessed_python").mkdir(parents=True)

    def write(name: str = "s01", level: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rng = np.random.default_rng(int(name[1:]))
        data = np.zeros((40, 40, 8064))
        data[:2] = rng.normal(5.0, 10.0, (2, 40, 8064))
        data[:, GSR] = 2e5 - level + np.cumsum(rng.normal(0, 20.0, (40, 8064)), axis=-1)
        labels = rng.uniform(1, 9, (40, 4))
        labels[:, 1] = np.where(np.arange(40) % 2, 7.0, 3.0)
        write_python2_pickle(tmp_path / "DEAP/data_preprocessed_python" / f"{name}.dat", labels=labels, data=data)
        return data, labels

    return write


@pytest.fixture
def deap(tmp_path: Path) -> Path:
    return tmp_path / "DEAP"


@pytest.fixture
def rewritten(tmp_path: Path, write_python2_pickle: Callable[..., None]) -> Iterator[Callable[..., Path]]:
    """Write s01.dat with the given arrays; it is deleted afterwards, because it can be large."""
    path = tmp_path / "s01.dat"

    def write(**arrays: NDArray[np.float64]) -> Path:
        write_python2_pickle(path, **arrays)
        return tmp_path

    yield write
    path.unlink(missing_ok=True)


def test_trial_is_a_recording(subject: Write, deap: Path) -> None:
    data, labels = subject()
    dataset = DeapDataset(deap)
    assert (dataset.identity, dataset.synthetic, dataset.has_eeg) == ("deap", False, True)
    assert dataset.targets == ("valence", "arousal", "dominance", "liking")
    assert dataset.files == {"s01": (deap / "data_preprocessed_python" / "s01.dat",)}
    assert dataset.settings == "baseline=keep&channels=28&gsr=uS"
    recordings = list(dataset.read(["s01"]))
    assert [recording.name for recording in recordings] == [f"s01-t{k:02d}" for k in range(1, 41)]
    for k in (0, 1, 39):
        recording = recordings[k]
        (trial,) = recording.trials
        assert (recording.subject, recording.rate_hz, recording.gsr_unit) == ("s01", 128, "uS")
        assert (trial.name, trial.start_s, trial.end_s) == (f"t{k + 1:02d}", 3.0, 63.0)
        assert trial.ratings == dict(zip(dataset.targets, labels[k].tolist(), strict=True))
        np.testing.assert_array_equal(recording.gsr, 1e6 / data[k, GSR])
        assert recording.channels == EEG_28
        assert recording.eeg is not None
        np.testing.assert_array_equal(recording.eeg, data[k, [EEG_32.index(name) for name in EEG_28]])
    assert next(dataset.read(["s01"], eeg=False)).eeg is None


def test_recordings_are_in_order_of_presentation_where_the_table_is_there(subject: Write, deap: Path) -> None:
    subject()
    by_video = list(DeapDataset(deap).read(["s01"], eeg=False))
    assert [recording.continues for recording in by_video] == [False] + [True] * 39
    before = DeapDataset(deap).fingerprint()
    order = np.random.default_rng(1).permutation(40) + 1
    rows = "".join(f"1,{place},{video}\n" for place, video in enumerate(order.tolist(), 1))
    table = deap / "participant_ratings.csv"
    table.write_text(f"Participant_id,Trial,Experiment_id\n{rows}")
    dataset = DeapDataset(deap)
    assert dataset.fingerprint() != before
    shown = list(dataset.read(["s01"], eeg=False))
    assert [recording.name for recording in shown] == [f"s01-t{number:02d}" for number in order]
    assert [recording.continues for recording in shown] == [False] + [True] * 39
    np.testing.assert_array_equal(shown[2].gsr, by_video[order[2] - 1].gsr)
    assert shown[2].trials == by_video[order[2] - 1].trials
    table.write_text("Participant_id,Trial,Experiment_id\n" + "".join(f"2,{k},{k}\n" for k in range(1, 41)))
    with pytest.raises(DataError, match=r"participant_ratings.csv has no rows of s01"):
        DeapDataset(deap)


def test_28_channels_are_those_outside_the_midline() -> None:
    assert len(EEG_28) == 28
    assert set(EEG_32) - set(EEG_28) == {"Oz", "Pz", "Fz", "Cz"}
    assert all(int(name[-1]) % 2 for name in EEG_28[:14])
    assert not any(int(name[-1]) % 2 for name in EEG_28[14:])


def test_file_of_random_numbers_is_read_as_by_python(rewritten: Callable[..., Path]) -> None:
    rng = np.random.default_rng(0)
    data = rng.standard_normal((40, 40, 8064))
    folder = rewritten(labels=rng.uniform(1, 9, (40, 4)), data=data)
    with (folder / "s01.dat").open("rb") as file:
        reference = pickle.load(file, encoding="latin1")["data"]
    source = open_dataset(f"deap:{folder}?channels=32")
    assert any("GSR of 1 of 1 subjects is relative to a baseline, not a resistance" in note for note in source.notes)
    for k, recording in enumerate(source.dataset.read(["s01"])):
        np.testing.assert_array_equal(recording.eeg, reference[k, :32])
        np.testing.assert_array_equal(recording.gsr, -reference[k, GSR])


def test_preset_gives_15_windows_per_trial_600_per_subject_and_19200_in_all(
    subject: Write, deap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EKD_CACHE", "off")  # with the cache, EEG of all 32 subjects would be converted
    subject()
    folder = deap / "data_preprocessed_python"
    for number in range(2, 33):
        (folder / f"s{number:02d}.dat").symlink_to(folder / "s01.dat")
    source = open_dataset(f"deap:{deap}")
    assert source.notes == []
    windows = source.windows(SIGNAL, None)
    assert len(windows) == 19_200
    assert set(np.unique(windows.subject, return_counts=True)[1].tolist()) == {600}
    assert set(np.unique(windows.trial, return_counts=True)[1].tolist()) == {32 * 15}
    np.testing.assert_array_equal(windows.end_s[:15], np.arange(7.0, 64.0, 4.0))
    one = source.windows(SIGNAL, EEG_SIGNAL, CONFIG.targets, subjects=["s32"])
    assert one.eeg is not None
    assert one.eeg.shape == (600, 28, 512)
    np.testing.assert_array_equal(one.labels[:, 0], np.repeat(np.arange(40) % 2, 15))
    np.testing.assert_array_equal(one.gsr, windows.of_subjects(["s32"]).gsr)


def test_relative_and_absolute_gsr_give_the_same_windows_under_z_score(subject: Write, deap: Path) -> None:
    subject()
    windows = {
        gsr: open_dataset(f"deap:{deap}?gsr={gsr}").windows(SIGNAL, None).gsr for gsr in ("auto", "ohm", "relative")
    }
    np.testing.assert_array_equal(windows["auto"], windows["ohm"])
    # not exactly equal: 1 / R is not linear, and the z-score has a floor of 0.001 uS for nearly constant signals
    assert np.corrcoef(windows["ohm"].ravel(), windows["relative"].ravel())[0, 1] > 0.999
    assert np.median(np.abs(windows["ohm"] - windows["relative"])) < 0.01


def test_subject_with_subtracted_baseline_makes_all_relative(subject: Write, deap: Path) -> None:
    data, _ = subject("s01")
    subject("s02", level=2e5)
    source = open_dataset(f"deap:{deap}")
    assert any("GSR of 1 of 2 subjects is relative to a baseline, not a resistance (s02)" in n for n in source.notes)
    recordings = list(source.dataset.read(source.subjects))
    assert {recording.gsr_unit for recording in recordings} == {"relative"}
    np.testing.assert_array_equal(recordings[0].gsr, -data[0, GSR])
    assert isinstance(source.dataset, DeapDataset)
    assert source.dataset.settings.endswith("gsr=relative")
    paper = load_preset("paper").signal
    with pytest.raises(DataError, match=r"needs absolute conductance: set signal\.normalization=ema-zscore"):
        source.windows(paper.gsr(), None)
    with pytest.raises(DataError, match=r"gsr=ohm, but GSR of .*s02\.dat is -\d.* use gsr=auto"):
        open_dataset(f"deap:{deap}?gsr=ohm")


def test_baseline_can_be_subtracted(subject: Write, deap: Path) -> None:
    data, _ = subject()
    absolute = next(DeapDataset(deap, baseline="subtract").read(["s01"]))
    relative = next(DeapDataset(deap, baseline="subtract", gsr="relative").read(["s01"]))
    rows = data[0, [EEG_32.index(name) for name in EEG_28]]
    assert absolute.eeg is not None
    np.testing.assert_allclose(absolute.eeg, rows - rows[:, :384].mean(axis=1, keepdims=True), atol=1e-12)
    np.testing.assert_array_equal(absolute.gsr, 1e6 / data[0, GSR])  # the level in uS is kept
    np.testing.assert_allclose(relative.gsr, data[0, GSR, :384].mean() - data[0, GSR], atol=1e-9)


def test_missing_subjects_are_counted(subject: Write, deap: Path) -> None:
    for name in ("s03", "s32"):
        subject(name)
    dataset = DeapDataset(deap / "data_preprocessed_python")
    assert dataset.subjects == ("s03", "s32")
    (note,) = dataset.notes
    assert note.startswith("30 of 32 subjects of DEAP have no file: s01, s02, s04")
    with pytest.raises(DataError, match="there is no subject 's01': known are s03, s32"):
        next(dataset.read(["s01"]))


def test_wrong_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        DeapDataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"contains none of s01\.dat to s32\.dat"):
        DeapDataset(tmp_path)
    with pytest.raises(DataError, match="write deap:FOLDER"):
        open_dataset("deap:")
    with pytest.raises(DataError, match="unknown option 'gsrs', choose from gsr, baseline, channels"):
        open_dataset(f"deap:{tmp_path}?gsrs=ohm")
    with pytest.raises(DataError, match="channels=30 is unknown, choose channels=28 or 32"):
        open_dataset(f"deap:{tmp_path}?channels=30")


def test_wrong_shapes_are_refused(rewritten: Callable[..., Path]) -> None:
    for arrays, message in (
        ({"data": np.ones((2, 40, 8))}, r"data of .*s01\.dat has the shape \(2, 40, 8\), not \(40, 40, 8064\)"),
        ({"labels": np.ones((40, 4))}, r"s01\.dat has no data"),
        ({"data": np.zeros((40, 40, 8064))}, r"s01\.dat has no labels"),
        ({"data": np.zeros((40, 40, 8064)), "labels": np.ones((40, 3))}, r"labels of .* the shape \(40, 3\)"),
    ):
        with pytest.raises(DataError, match=message):
            DeapDataset(rewritten(**arrays))


@pytest.mark.parametrize("rating", [0.0, 9.5, np.nan, -np.inf])
def test_labels_out_of_range_are_refused(rewritten: Callable[..., Path], rating: float) -> None:
    labels = np.full((40, 4), 5.0)
    labels[7, 1] = rating
    with pytest.raises(DataError, match=rf"arousal of trial 8 in .*s01\.dat is {rating:g}, but ratings go from 1 to 9"):
        DeapDataset(rewritten(data=np.zeros((40, 40, 8064)), labels=labels))


def test_nan_is_refused_with_its_trial(rewritten: Callable[..., Path]) -> None:
    data = np.zeros((40, 40, 8064))
    data[4, 3, 100] = np.nan
    folder = rewritten(data=data, labels=np.full((40, 4), 5.0))
    with pytest.raises(DataError, match=r"EEG of trial 5 in .*s01\.dat has values that are not finite numbers"):
        list(DeapDataset(folder).read(["s01"]))
    data[0, GSR, 5] = np.inf
    folder = rewritten(data=data, labels=np.full((40, 4), 5.0))
    with pytest.raises(DataError, match=r"GSR of .*s01\.dat has values that are not finite numbers"):
        DeapDataset(folder)
    with pytest.raises(DataError, match=r"GSR of trial 1 in .*s01\.dat has values"):
        next(DeapDataset(folder, gsr="relative").read(["s01"]))


def test_truncated_file_is_refused(subject: Write, deap: Path) -> None:
    subject()
    path = deap / "data_preprocessed_python" / "s01.dat"
    with path.open("rb+") as file:
        file.truncate(50_000_000)
    with pytest.raises(DataError, match=r"s01\.dat is damaged \(it is truncated\): copy it again"):
        DeapDataset(deap)


def test_data_command_lists_subjects_and_writes_recordings(
    subject: Write, deap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subject()
    assert main(["data", "--data", f"deap:{deap}"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "s01\n"
    assert "31 of 32 subjects of DEAP have no file" in captured.err
    for gsr in ("auto", "relative"):
        name = f"deap:{deap}?gsr={gsr}"
        out = tmp_path / gsr / "one.csv"
        assert main(["data", "--data", name, "--subject", "s01", "--recording", "s01-t02", "--out", str(out)]) == 0
        (written,) = RecordingsDataset(out.parent).read(["s01"])
        recording = list(open_dataset(name).dataset.read(["s01"]))[1]
        np.testing.assert_array_equal(written.gsr, recording.gsr)
        np.testing.assert_array_equal(written.eeg, recording.eeg)
        assert (written.gsr_unit, written.trials) == (recording.gsr_unit, recording.trials)
    capsys.readouterr()
    for options, message in (
        (["--out", "x.csv"], "s01 has 40 recordings, s01-t01 to s01-t40: choose one with --recording NAME"),
        (["--out", "x.csv", "--recording", "t1"], "s01 has no recording 't1'"),
        ([], "name the file to write"),
    ):
        assert main(["data", "--data", f"deap:{deap}", "--subject", "s01", *options]) == 2
        assert message in capsys.readouterr().err
