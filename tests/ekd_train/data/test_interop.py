import copy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from ekd_edge.errors import ConfigError
from ekd_edge.signal.design import eeg_spec, gsr_spec
from ekd_train.data.interop import TorchWindows, as_mne_raw, as_torch_dataset
from ekd_train.data.source import open_dataset
from ekd_train.data.windows import Recording, WindowSet
from tests.helpers.packages import hide_packages

GSR = gsr_spec(rate_hz=Fraction(32), window_s=4.0, hop_s=2.0)
EEG = eeg_spec(rate_hz=Fraction(32), window_s=4.0, hop_s=2.0)


@pytest.fixture
def windows() -> WindowSet:
    return open_dataset("synthetic?subjects=3&trials=4&trial_s=12&eeg_channels=2").windows(
        GSR, EEG, ("arousal", "valence")
    )


def split_by_subject(dataset: TorchWindows, subject: str, folder: Path) -> tuple[TorchWindows, TorchWindows]:
    """Split a dataset as TorchEEG's LeaveOneSubjectOut does: write rows of `info` to CSV files, set them on copies."""
    sides = []
    for name, rows in (
        ("train", dataset.info["subject_id"] != subject),
        ("test", dataset.info["subject_id"] == subject),
    ):
        dataset.info[rows].to_csv(folder / f"{name}.csv", index=False)
        side = copy.copy(dataset)
        side.info = pd.read_csv(folder / f"{name}.csv")
        sides.append(side)
    return sides[0], sides[1]


def test_items_equal_the_windows(windows: WindowSet) -> None:
    dataset = as_torch_dataset(windows)
    assert isinstance(dataset, torch.utils.data.Dataset)
    assert len(dataset) == len(windows)
    gsr, eeg, labels = dataset[5]
    assert windows.eeg is not None
    np.testing.assert_array_equal(gsr, windows.gsr[5])
    np.testing.assert_array_equal(eeg, windows.eeg[5])
    np.testing.assert_array_equal(labels, windows.labels[5])
    assert (gsr.dtype, eeg.dtype, labels.dtype) == (torch.float32, torch.float32, torch.int64)
    batch = next(iter(DataLoader(dataset, batch_size=4)))
    assert [tuple(part.shape) for part in batch] == [(4, 128), (4, 2, 128), (4, 2)]
    assert len(as_torch_dataset(replace(windows, eeg=None))[0]) == 2
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_items_have_subject_trial_and_recording(windows: WindowSet) -> None:
    info = as_torch_dataset(windows).info
    np.testing.assert_array_equal(info["subject_id"], windows.subject)
    np.testing.assert_array_equal(info["trial"], windows.trial)
    assert set(zip(info["trial_id"], info["trial"], strict=True)) == {(k, f"t{k:02d}") for k in range(4)}
    np.testing.assert_array_equal(info["recording"], windows.recording)
    np.testing.assert_array_equal(info["end_s"], windows.end_s)
    np.testing.assert_array_equal(info["valence"], windows.ratings[:, 1])
    assert info["clip_id"].is_unique


def test_split_by_subject_keeps_items_with_their_subjects(windows: WindowSet, tmp_path: Path) -> None:
    dataset = as_torch_dataset(windows)
    train, test = split_by_subject(dataset, "s001", tmp_path)
    assert len(dataset) == len(windows)
    assert set(test.info["subject_id"]) == {"s001"}
    assert set(train.info["subject_id"]) == {"s000", "s002"}
    for side, mask in ((train, windows.subject != "s001"), (test, windows.subject == "s001")):
        expected = windows.select(mask)
        assert len(side) == len(expected)
        np.testing.assert_array_equal(np.stack([side[i][0] for i in range(len(side))]), expected.gsr)
        np.testing.assert_array_equal(np.stack([side[i][2] for i in range(len(side))]), expected.labels)


def test_mne_recording_has_volts_siemens_and_trials(small_sessions: list[Recording]) -> None:
    session = small_sessions[0]
    raw = as_mne_raw(session)
    assert session.eeg is not None
    assert raw.info["sfreq"] == float(session.rate_hz)
    assert raw.ch_names == ["F3", "F4", "GSR"]
    assert raw.get_channel_types() == ["eeg", "eeg", "gsr"]
    np.testing.assert_allclose(raw.get_data(["F3", "F4"]), session.eeg * 1e-6, rtol=1e-12)
    np.testing.assert_allclose(raw.get_data("gsr")[0], session.gsr * 1e-6, rtol=1e-12)
    assert raw.info["chs"][2]["unit"] == mne.io.constants.FIFF.FIFF_UNIT_S
    assert raw.info["subject_info"]["his_id"] == "s000"
    assert raw.get_montage() is not None
    trial, annotation = session.trials[1], raw.annotations[1]
    assert annotation["onset"] == pytest.approx(trial.start_s)
    assert annotation["duration"] == pytest.approx(trial.end_s - trial.start_s)
    assert annotation["description"] == (
        f"trial/t01 arousal={trial.ratings['arousal']:g} valence={trial.ratings['valence']:g}"
    )


def test_mne_recording_has_lost_samples_interpolated_and_annotated(small_sessions: list[Recording]) -> None:
    session = small_sessions[0]
    lost = np.zeros(len(session.gsr), np.bool_)
    lost[100:103] = True
    gsr = np.where(lost, np.nan, session.gsr)
    raw = as_mne_raw(replace(session, gsr=gsr, lost=lost))
    line = np.linspace(session.gsr[99], session.gsr[103], 5)
    np.testing.assert_allclose(raw.get_data(["GSR"])[0, 99:104], line * 1e-6)
    (bad,) = [each for each in raw.annotations if each["description"] == "BAD_lost"]
    assert bad["onset"] == pytest.approx(100 / float(session.rate_hz))
    assert bad["duration"] == pytest.approx(3 / float(session.rate_hz))


def test_mne_recording_has_relative_gsr_without_a_unit(small_sessions: list[Recording]) -> None:
    raw = as_mne_raw(replace(small_sessions[0], gsr_unit="relative", eeg=None, channels=()))
    assert raw.get_channel_types() == ["misc"]
    np.testing.assert_array_equal(raw.get_data()[0], small_sessions[0].gsr)


def test_missing_package_is_named(
    windows: WindowSet, small_sessions: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_packages(monkeypatch, "pandas", "mne")
    with pytest.raises(ConfigError, match=r"needs pandas, which is not installed: run `pip install .*\[bridges\]"):
        as_torch_dataset(windows)
    with pytest.raises(ConfigError, match=r"needs mne, which is not installed: run `pip install .*\[bridges\]"):
        as_mne_raw(small_sessions[0])
