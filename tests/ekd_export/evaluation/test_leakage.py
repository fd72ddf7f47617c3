from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.errors import DataError
from ekd_export.cli.evaluate import main as evaluate
from ekd_export.cli.main import main
from ekd_export.evaluation.leakage import check_disjoint, check_unseen, with_window_hashes
from ekd_train.checkpoint import save_weights
from ekd_train.data.datasets.recordings import write_recording
from ekd_train.data.source import open_dataset
from ekd_train.data.splits import SubjectSplit
from ekd_train.data.windows import WindowSet
from ekd_train.run import STUDENT_FILE, Run, create_run


def renamed(windows: WindowSet, name: str) -> WindowSet:
    return replace(windows, subject=np.full(len(windows), name), recording=np.full(len(windows), f"{name}-r"))


def changed(windows: WindowSet, change: Callable[[np.ndarray], None]) -> WindowSet:
    gsr = np.array(windows.gsr)
    change(gsr)
    return replace(windows, gsr=gsr)


def test_disjoint_subjects_pass(windows: WindowSet) -> None:
    training_windows = [windows.of_subjects(["s000", "s001"]), windows.of_subjects(["s002"])]
    check_disjoint(training_windows, windows.of_subjects(["s003", "s004", "s005"]))
    check_disjoint(training_windows, windows.select([]))
    check_disjoint([windows.select([])], windows)


def test_subject_in_training_and_test_is_named(windows: WindowSet) -> None:
    with pytest.raises(DataError, match=r"^s001 are test subjects of a model that was trained on them"):
        check_disjoint([windows.of_subjects(["s000", "s001"])], windows.of_subjects(["s001", "s002"]))


def test_single_copied_window_under_another_name_is_found(windows: WindowSet) -> None:
    training_windows = [windows.of_subjects(["s000"]), windows.of_subjects(["s001"])]
    copy = renamed(windows.of_subjects(["s001"]).select(slice(3, 4)), "t")
    with pytest.raises(DataError, match=r"^1 test windows of t are also training windows of s001: .*two names"):
        check_disjoint(training_windows, copy)


def test_error_counts_windows_and_names_subjects(windows: WindowSet) -> None:
    copy = renamed(windows.of_subjects(["s000"]), "copy")
    with pytest.raises(DataError, match=rf"^{len(copy)} test windows of copy are also training windows of s000"):
        check_disjoint([windows.of_subjects(["s000", "s001"])], copy)


def test_last_bit_changes_the_hash_and_constant_windows_are_ignored(windows: WindowSet) -> None:
    training_windows = windows.of_subjects(["s000"])

    def last_bit(gsr: np.ndarray) -> None:
        gsr[:, 0] = np.nextafter(gsr[:, 0], np.float32(9))

    def level(gsr: np.ndarray) -> None:
        gsr[:] = 0

    check_disjoint([training_windows], changed(renamed(training_windows, "t"), last_bit))
    check_disjoint([changed(training_windows, level)], changed(renamed(training_windows, "t"), level))


def test_manifest_hashes_find_a_recording_under_another_name(exports, windows: WindowSet) -> None:
    for manifest in (exports.int8.manifest, exports.float32.manifest):
        hashes = manifest.training.window_hashes
        recordings = len({str(name) for name in windows.of_subjects(["s000", "s001", "s002"]).recording})
        assert recordings <= len(hashes) <= 4 * recordings
        check_unseen([manifest], windows.of_subjects(["s003", "s004", "s005"]))
        for seen in ("s000", "s001", "s002"):
            with pytest.raises(DataError, match=r"windows of t were used to train one of .*, under another name"):
                check_unseen([manifest], renamed(windows.of_subjects([seen]), "t"))


@pytest.mark.parametrize(("recordings", "wanted"), [(1, 4), (63, 4 * 63), (100, 2 * 100), (300, 256)])
def test_window_hashes_are_spread_over_recordings(exports, windows: WindowSet, recordings: int, wanted: int) -> None:
    few = windows.select(np.zeros(12 * recordings, np.int64))
    few = replace(
        few,
        gsr=np.random.default_rng(0).normal(size=few.gsr.shape).astype(np.float32),
        recording=np.repeat([f"r{i}" for i in range(recordings)], 12),
    )
    manifest = with_window_hashes(exports.float32.manifest, [few, windows.select([])])
    assert len(manifest.training.window_hashes) == wanted
    each = [few.select(few.recording == f"r{i}") for i in range(recordings)]
    for part in each[: 256 if recordings <= 256 else 0]:
        with pytest.raises(DataError):
            check_unseen([manifest], part)


@pytest.fixture(scope="module")
def copied(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The subjects of the run as recordings, one of them twice under two names."""
    folder = tmp_path_factory.mktemp("copied")
    for recording in open_dataset(run.source).dataset.read(["s000", "s003", "s004", "s005"], eeg=False):
        subjects = [recording.subject, "copy"] if recording.subject == "s000" else [recording.subject]
        for subject in subjects:
            name = f"{subject}-{recording.name}"
            write_recording(folder / f"{name}.csv", replace(recording, name=name, subject=subject))
    return folder


def test_export_refuses_a_copied_test_subject(run: Run, copied: Path, tmp_path: Path, capsys) -> None:
    source = open_dataset(f"recordings:{copied}")
    made = create_run(
        tmp_path / "run",
        config=replace(run.config, data=source.name),
        signal=run.signal,
        eeg_signal=None,
        network=run.network,
        source=source.name,
        identity=source.identity,
        synthetic=True,
        split=SubjectSplit(("s000", "s003"), ("s004",), ("s005", "copy")),
    )
    save_weights(made.path / STUDENT_FILE, run.student())
    assert main([str(made.path)]) == 2
    assert "windows of copy are also training windows of s000" in capsys.readouterr().err.splitlines()[-1]
    assert not list(made.path.glob("*.tflite"))


def test_evaluation_refuses_a_copied_subject_in_other_data(exports, copied: Path, capsys) -> None:
    assert evaluate([str(exports.float32.path), "--data", f"recordings:{copied}"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "windows of copy, s000 were used to train one of these models, under another name" in err
