import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.errors import DataError
from ekd_edge.signal.design import eeg_spec, gsr_spec
from ekd_train.data.datasets.synthetic import SyntheticDataset
from ekd_train.data.source import ENTRY_POINTS, open_dataset

GSR = gsr_spec(rate_hz=Fraction(16), window_s=4.0, hop_s=2.0)
EEG = eeg_spec(rate_hz=Fraction(16), window_s=4.0, hop_s=2.0)
SMALL = "synthetic?subjects=3&trials=4&trial_s=12&eeg_channels=2"


def test_options_set_the_config() -> None:
    source = open_dataset("synthetic:hard?subjects=5&seed=3&trial_s=30.5")
    assert isinstance(source.dataset, SyntheticDataset)
    config = source.dataset.config
    assert (config.subjects, config.seed, config.trial_s, config.difficulty) == (5, 3, 30.5, "hard")
    assert source.identity == "synthetic:hard?seed=3"
    assert source.synthetic
    assert open_dataset("synthetic").subjects == tuple(f"s{k:03d}" for k in range(24))


def test_written_recordings_give_the_same_windows(folder: Path) -> None:
    targets = ("valence", "arousal")
    ours = open_dataset(f"recordings:{folder}").windows(GSR, EEG, targets, eeg_features="bandpower")
    theirs = open_dataset(SMALL).windows(GSR, EEG, targets, eeg_features="bandpower")
    for name in ("gsr", "eeg", "ratings", "labels", "subject", "trial", "recording", "end_s"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert ours.targets == targets


def test_windows_of_chosen_subjects_report_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EKD_CACHE", "off")
    seen: list[tuple[int, int]] = []
    source = open_dataset(SMALL)
    windows = source.windows(GSR, None, subjects=["s002", "s000"], progress=lambda k, n: seen.append((k, n)))
    assert seen == [(1, 2), (2, 2)]
    assert windows.subjects == ("s000", "s002")
    assert windows.eeg is None
    assert windows.subject[0] == "s000"
    everyone = source.windows(GSR, None)
    np.testing.assert_array_equal(everyone.of_subjects(["s002"]).gsr, windows.of_subjects(["s002"]).gsr)


def test_single_class_is_refused_except_for_a_single_subject() -> None:
    source = open_dataset(SMALL)
    with pytest.raises(DataError, match=r"all ratings of arousal by 3 subjects .* are at or below 9"):
        source.windows(GSR, None, threshold=9.0)
    with pytest.raises(DataError, match="above 0"):
        source.windows(GSR, None, threshold=0.0)
    with pytest.raises(DataError, match=r"are below 9\.1"):
        source.windows(GSR, None, threshold=9.1, high="at-or-above")
    with pytest.raises(DataError, match="at or above 1,"):
        source.windows(GSR, None, threshold=1.0, high="at-or-above")
    assert len(source.windows(GSR, None, threshold=9.0, subjects=["s001"]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deep", "unknown data .deep.: write synthetic, .* deap:FOLDER or hci:FOLDER"),
        ("deap", "write deap:FOLDER"),
        ("hci:", "write hci:FOLDER"),
        ("synthetic:easy", "unknown data"),
        ("synthetic:hrad", "did you mean synthetic:hard"),
        ("sintetic?seed=1", "did you mean synthetic"),
        ("recording:mine", "did you mean recordings"),
        ("synthetic?subject=3", "did you mean subjects"),
        ("synthetic?subject=3", "unknown option 'subject'"),
        ("synthetic?difficulty=hard", "unknown option"),
        ("synthetic?subjects=many", "subjects=many is not a number"),
        ("synthetic?subjects=", "is not a number"),
        ("synthetic?trials=3", "even number of trials"),
        ("recordings:", "write recordings:FOLDER"),
        ("recordings", "write recordings:FOLDER"),
        ("recordings:/no/such/folder", "there is no folder"),
    ],
)
def test_unknown_names_and_options_are_refused(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("baselines=keep", "unknown option 'baselines', choose from gsr, baseline, channels; did you mean baseline"),
        ("gsr=relatively", "choose gsr=auto or ohm or relative; did you mean relative"),
        ("channels=23", "channels=23 is unknown, choose channels=28 or 32"),
    ],
)
def test_unknown_deap_options_are_refused(tmp_path: Path, options: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(f"deap:{tmp_path}?{options}")


FOREIGN = """
from ekd_edge.errors import DataError
from ekd_train.data.datasets.synthetic import SyntheticConfig, SyntheticDataset

def open_mine(argument):
    if not argument:
        raise DataError("write mine:COUNT")
    return SyntheticDataset(SyntheticConfig(subjects=int(argument)))

CONSTANT = 3
incomplete = dict
def unreadable(argument):
    return open("/no/such/file")
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Install a package with one entry point of the group ekd.datasets, for an attribute of the module `mydata`."""

    def install(name: str, attribute: str) -> None:
        (tmp_path / "mydata.py").write_text(FOREIGN)
        folder = tmp_path / "mydata-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: mydata\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\n{name} = mydata:{attribute}\n")
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    sys.modules.pop("mydata", None)


def test_dataset_of_another_package_is_opened_with_its_argument(install: Callable[[str, str], None]) -> None:
    install("mine", "open_mine")
    source = open_dataset("mine:5")
    assert source.name == "mine:5"
    assert len(source.subjects) == 5
    with pytest.raises(DataError, match="write mine:COUNT"):
        open_dataset("mine")
    with pytest.raises(DataError, match=r"hci:FOLDER or mine:ARGUMENT; did you mean mine\?"):
        open_dataset("mines:5")


def test_built_in_dataset_is_not_replaced_by_another_package(install: Callable[[str, str], None]) -> None:
    install("synthetic", "CONSTANT")
    assert open_dataset("synthetic").synthetic


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("absent", "the dataset mine .mydata:absent. cannot be loaded"),
        ("CONSTANT", "mydata:CONSTANT is not a function or class"),
        ("incomplete", "has no identity, synthetic, has_eeg, subjects, targets, notes, read, fingerprint"),
        ("unreadable", "cannot read /no/such/file: No such file"),
    ],
)
def test_broken_dataset_of_another_package_is_named(
    install: Callable[[str, str], None], attribute: str, message: str
) -> None:
    install("mine", attribute)
    with pytest.raises(DataError, match=message):
        open_dataset("mine:" if attribute == "incomplete" else "mine:5")


def test_unknown_targets_and_subjects_are_refused() -> None:
    source = open_dataset(SMALL)
    with pytest.raises(DataError, match="no ratings of 'joy': choose arousal, valence"):
        source.windows(GSR, None, ("joy",))
    with pytest.raises(DataError, match="at least one target"):
        source.windows(GSR, None, ())
    with pytest.raises(DataError, match=r"'arousl': .*; did you mean arousal\?"):
        source.windows(GSR, None, ("arousl",))
    with pytest.raises(DataError, match=r"no subject 's01': .*; did you mean s0"):
        source.windows(GSR, None, subjects=["s01"])
    with pytest.raises(DataError, match="no subject 'x'"):
        source.windows(GSR, None, subjects=["x"])
    with pytest.raises(DataError, match=r"no subject of .* is chosen"):
        source.windows(GSR, None, subjects=[])
    long = gsr_spec(rate_hz=Fraction(16), window_s=32.0, hop_s=4.0)
    with pytest.raises(DataError, match="has no windows, because every trial is shorter than 32 s"):
        source.windows(long, None)
    assert any("is shorter than a window" in note for note in source.notes)
