import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import mne
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ekd_edge.errors import ConfigError, DataError
from ekd_train.cli.main import main
from ekd_train.config import load_preset
from ekd_train.data.datasets.hci_tagging import HciTaggingDataset
from ekd_train.data.datasets.montage import EEG_28, EEG_32
from ekd_train.data.datasets.recordings import RecordingsDataset
from ekd_train.data.datasets.session_xml import read_session
from ekd_train.data.source import open_dataset
from tests.helpers.packages import hide_packages

CONFIG = load_preset("hci")
SIGNAL = CONFIG.signal.for_training(CONFIG.signal.gsr())
EEG_SIGNAL = CONFIG.signal.for_training(CONFIG.signal.eeg())

FULL = 2**23
AMPLIFIER = 0x1F << 16  # BioSemi sets "CMS in range" and the speed mode in the high bits of Status.


@dataclass(frozen=True)
class Channel:
    """A channel of a BDF file. samples: in `unit`, quantized to `step`."""

    samples: NDArray[np.float64]
    unit: str = "uV"
    step: float = 1 / 32

    @property
    def digital(self) -> NDArray[np.int64]:
        return np.round(self.samples / self.step).astype(np.int64)


def write_bdf(path: Path, channels: Mapping[str, Channel], rate: int, records: int | None = None) -> None:
    """Write a BDF file: a header of text fields, then records of one second, channel by channel, in 24-bit integers."""
    count = len(channels)
    seconds = len(next(iter(channels.values())).samples) // rate

    def field(texts: list[str], width: int) -> bytes:
        return b"".join(text.encode("latin-1").ljust(width)[:width] for text in texts)

    every = list(channels.values())
    header = b"\xffBIOSEMI" + field(["", ""], 80) + field(["01.01.09", "12.00.00", str(256 * (count + 1))], 8)
    header += field(["24BIT"], 44) + field([str(seconds if records is None else records), "1"], 8)
    header += field([str(count)], 4) + field(list(channels), 16) + field(["electrode"] * count, 80)
    header += field([channel.unit for channel in every], 8)
    header += field([f"{-FULL * channel.step:.8g}"[:8] for channel in every], 8)
    header += field([f"{(FULL - 1) * channel.step:.8g}"[:8] for channel in every], 8)
    header += field([str(-FULL)] * count + [str(FULL - 1)] * count, 8)
    header += field(["none"] * count, 80) + field([str(rate)] * count, 8) + field(["Reserved"] * count, 32)
    digital = np.stack([channel.digital for channel in every]).reshape(count, seconds, rate).transpose(1, 0, 2)
    raw = digital.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3]
    path.write_bytes(header + raw.tobytes())


def status(seconds: int, rate: int, *events: tuple[float, int]) -> Channel:
    """Return the samples of Status with a pulse of 0.1 s for each (time, code)."""
    values = np.full(seconds * rate, AMPLIFIER)
    for at, code in events:
        values[round(at * rate) : round(at * rate) + rate // 10] |= code
    values[values >= FULL] -= 2 * FULL
    return Channel(values.astype(float), "Boolean", 1.0)


def xml(subject: str = '<subject id="7"/>', **attributes: object) -> str:
    given = {
        "isStim": 1,
        "mediaFile": "69.avi",
        "cutLenSec": 12,
        "feltArsl": 3,
        "feltVlnc": 8,
        "feltCtrl": 5,
    } | attributes
    text = " ".join(f'{name}="{value}"' for name, value in given.items() if value is not None)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<session {text}>{subject}<track type="Video"/></session>'


Session = Callable[..., dict[str, Channel]]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Write Sessions/NUMBER with 32 channels, ECG, GSR and Status: 4 s, a stimulus of 12 s, and 4 s."""

    def write(
        number: int = 2,
        text: str | None = None,
        rate: int = 256,
        events: tuple[tuple[float, int], ...] = ((4.0, 16), (16.0, 16)),
        **changed: Channel | None,
    ) -> dict[str, Channel]:
        folder = tmp_path / "Sessions" / str(number)
        folder.mkdir(parents=True)
        folder.joinpath("session.xml").write_text(xml() if text is None else text)
        rng = np.random.default_rng(number)
        seconds = 20
        n = seconds * rate
        common = 50 * np.sin(2 * np.pi * 10 * np.arange(n) / rate)
        channels = {name: Channel(rng.normal(-9000, 20, n) + common) for name in EEG_32}
        channels |= {"EXG1": Channel(rng.normal(0, 300, n))}
        channels |= {"GSR1": Channel(3e5 + np.cumsum(rng.normal(0, 20, n)), "Ohm", 1.0)}
        channels |= {"Status": status(seconds, rate, *events)}
        channels = {name: channel for name, channel in (channels | changed).items() if channel is not None}
        write_bdf(folder / f"Part_7_S_Trial{number}_emotion.bdf", channels, rate)
        return channels

    return write


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    return tmp_path / "Sessions"


def expected_eeg(channels: Mapping[str, Channel], names: tuple[str, ...]) -> NDArray[np.float64]:
    mean = np.mean([channels[name].samples for name in EEG_32], axis=0)
    return np.stack([channels[name].samples - mean for name in names])


@pytest.mark.parametrize(("rate", "names"), [(256, EEG_28), (512, EEG_32)])
def test_session_is_read_with_the_accuracy_of_a_digital_step(
    session: Session, sessions: Path, rate: int, names: tuple[str, ...]
) -> None:
    written = session(2, rate=rate)
    dataset = HciTaggingDataset(sessions.parent, channels=str(len(names)))
    assert (dataset.identity, dataset.synthetic, dataset.has_eeg) == ("hci-tagging", False, True)
    assert dataset.targets == ("arousal", "valence", "control", "predictability")
    assert dataset.subjects == ("p07",)
    assert dataset.notes == ()
    assert dataset.files == {"p07": (sessions / "2/session.xml", sessions / "2/Part_7_S_Trial2_emotion.bdf")}
    (recording,) = dataset.read(["p07"])
    assert (recording.name, recording.subject, recording.rate_hz) == ("p07-2", "p07", rate)
    (trial,) = recording.trials
    assert (trial.name, trial.start_s, trial.end_s) == ("69.avi", 4.0, 16.0)
    assert trial.ratings == {"arousal": 3.0, "valence": 8.0, "control": 5.0}
    assert recording.channels == names
    assert recording.eeg is not None
    np.testing.assert_allclose(recording.eeg, expected_eeg(written, names), atol=1 / 32)
    assert recording.gsr_unit == "uS"
    np.testing.assert_allclose(1e6 / recording.gsr, written["GSR1"].samples, atol=1.0)
    assert next(dataset.read(["p07"], eeg=False)).eeg is None


def test_mne_reads_the_same_values(session: Session, sessions: Path) -> None:
    session()
    (recording,) = HciTaggingDataset(sessions, channels="32").read(["p07"])
    raw = mne.io.read_raw_bdf(sessions / "2/Part_7_S_Trial2_emotion.bdf", verbose="error")
    theirs = raw.get_data(EEG_32) * 1e6
    assert recording.eeg is not None
    np.testing.assert_allclose(recording.eeg, theirs - theirs.mean(axis=0), atol=1e-6)
    found = mne.find_events(raw, mask=0xFFFF, mask_type="and", verbose="error")
    np.testing.assert_array_equal(found[:, 0] / 256, [4.0, 16.0])


@pytest.mark.parametrize("rate", [256, 512])
def test_windows_are_within_the_stimulus(session: Session, sessions: Path, rate: int) -> None:
    session(2, rate=rate, events=((4.3, 16), (15.9, 32), (18.0, 16)))
    source = open_dataset(f"hci:{sessions}")
    windows = source.windows(SIGNAL, EEG_SIGNAL, ("arousal", "valence"))
    assert windows.eeg is not None
    assert windows.eeg.shape == (len(windows), 28, 512)
    assert len(windows) == 2
    assert np.all(windows.end_s - 4.0 >= 4.3)
    assert np.all(windows.end_s <= 15.9)
    assert (windows.labels == [0, 1]).all()
    # the common 10 Hz and the electrode offset are removed
    assert np.abs(windows.eeg).max() < 8


def test_events_are_changes_to_nonzero_codes(session: Session, sessions: Path) -> None:
    def trial(number: int, values: NDArray[np.int64]) -> tuple[float, float]:
        session(number, text=xml(f'<subject id="{number}"/>'), Status=Channel(values.astype(float), "Boolean", 1.0))
        (recording,) = HciTaggingDataset(sessions).read([f"p{number:02d}"])
        return recording.trials[0].start_s, recording.trials[0].end_s

    flickering = np.zeros(20 * 256, dtype=np.int64)
    flickering[::2] |= 1 << 22  # battery and other states are not triggers
    flickering[5 * 256 :] |= 16  # held, not a pulse
    flickering[12 * 256 :] ^= 16 | 32  # straight to another code
    assert trial(1, flickering) == (5.0, 12.0)
    set_from_the_start = np.full(20 * 256, 7 | AMPLIFIER)
    set_from_the_start[2 * 256 :] = AMPLIFIER
    set_from_the_start[6 * 256 : 7 * 256] |= 16
    set_from_the_start[11 * 256 :] |= 16
    assert trial(2, set_from_the_start - 2 * FULL * (set_from_the_start >= FULL)) == (6.0, 11.0)


def test_unusable_sessions_are_counted(session: Session, sessions: Path) -> None:
    session(1)
    session(3, text=xml(feltArsl=None, feltVlnc=None, feltCtrl=None))
    session(20, text=xml(feltArsl="", feltVlnc="", feltCtrl=""))
    session(4, text=xml(isStim=0))
    session(5, text=xml(feltVlnc=10))
    session(6, text=xml(feltVlnc="high"))
    session(7, events=())
    session(8, events=((4.0, 16),))
    session(9, GSR1=Channel(np.full(5120, -5.0), "Ohm", 1.0))
    session(10, GSR1=Channel(np.where(np.arange(5120) == 99, 0.0, 3e5), "Ohm", 1.0))
    session(11, GSR1=Channel(np.full(5120, 300.0), "kOhm", 1.0))
    session(12, Oz=None)
    session(13, GSR1=None)
    session(14)
    (sessions / "14/Part_7_S_Trial14_emotion.bdf").unlink()
    (sessions / "15").mkdir()
    (sessions / "notes").mkdir()
    source = open_dataset(f"hci:{sessions}")
    assert sorted(source.notes) == [
        "1 of 15 sessions left out: no BDF file (14)",
        "1 of 15 sessions left out: no session.xml (15)",
        "1 of 15 sessions left out: no stimulus shown (4)",
        "2 of 15 sessions left out: a rating is not within 1 to 9 (5, 6)",
        "2 of 15 sessions left out: not rated (3, 20)",
    ]
    windows = source.windows(SIGNAL, None)
    assert set(windows.recording) == {"p07-1"}
    again = open_dataset(f"hci:{sessions}")
    again.windows(SIGNAL, None)  # from the cache
    for notes in (source.notes, again.notes):
        assert sorted(note for note in notes[5:] if "are stored in" not in note) == [
            "2 of 8 sessions of p07 left out: Status has fewer than two events (7, 8)",
            "2 of 8 sessions of p07 left out: channels are missing (12, 13)",
            "3 of 8 sessions of p07 left out: GSR1 is not a skin resistance in Ohm (9, 10, 11)",
        ]
    notes = list(source.notes)
    source.windows(SIGNAL, None)
    assert source.notes == notes


def test_dataset_without_usable_sessions_lists_the_reasons(session: Session, sessions: Path) -> None:
    session(1, events=())
    with pytest.raises(DataError, match=r"has no windows, .* \(1 of 1 sessions of p07 left out: Status has fewer"):
        open_dataset(f"hci:{sessions}").windows(SIGNAL, None)
    session(2, text=xml(isStim=0))
    (sessions / "1/session.xml").unlink()
    with pytest.raises(
        DataError, match=r"contains no usable session \(1 of 2 sessions left out: no session\.xml \(1\); 1 of"
    ):
        HciTaggingDataset(sessions)


def test_wrong_folder_is_named(tmp_path: Path, session: Session, sessions: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        HciTaggingDataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match="contains no sessions: name HCI-Tagging's folder Sessions"):
        HciTaggingDataset(tmp_path)
    with pytest.raises(DataError, match="write hci:FOLDER"):
        open_dataset("hci:")
    with pytest.raises(DataError, match="unknown option 'gsr', choose from channels"):
        open_dataset(f"hci:{tmp_path}?gsr=ohm")
    session(1)
    with pytest.raises(DataError, match="there is no subject 'p01': known are p07"):
        next(HciTaggingDataset(sessions).read(["p01"]))
    (sessions / "1/Part_7_S_Trial9_emotion.bdf").touch()
    with pytest.raises(DataError, match="has 2 BDF files"):
        HciTaggingDataset(sessions)


# damaged files

LAUGHS = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
BOMB = f'<!DOCTYPE s [<!ENTITY e0 "ha">{LAUGHS}]><s>&e9;</s>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, r"has a DTD \(DTDForbidden\), which is not allowed"),
        ('<!DOCTYPE s [<!ENTITY z "' + "x" * 50_000 + '">]><s>' + "&z;" * 50_000 + "</s>", "has a DTD"),
        ('<!DOCTYPE s [<!ENTITY z SYSTEM "file:///etc/hostname">]><s a="&z;">&z;</s>', "has a DTD"),
        ('<!DOCTYPE s SYSTEM "http://127.0.0.1:9/x.dtd"><s/>', "has a DTD"),
        ('<!DOCTYPE s [<!ENTITY % p SYSTEM "file:///etc/hostname"> %p;]><s/>', "has a DTD"),
        ("<session", "is not well-formed XML"),
        ("", "is not well-formed XML"),
        ("<session>&z;</session>", "is not well-formed XML"),
        ("<a>" * 100_000, "is not well-formed XML"),
        ("<a>" * 100_000 + "</a>" * 100_000, "has no subject with a number"),
        ('<?xml version="1.0" encoding="none such"?><s/>', "is not well-formed XML"),
        ("<s>" + " " * 2**20 + "</s>", "is too large"),
        (xml(""), "has no subject with a number as its id"),
        (xml('<subject id="seven"/>'), "has no subject with a number as its id"),
        (xml("<subject/>"), "has no subject with a number as its id"),
    ],
)
def test_invalid_session_xml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "session.xml"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_session(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_damaged_bdf_is_named(session: Session, sessions: Path) -> None:
    session(2)
    path = sessions / "2/Part_7_S_Trial2_emotion.bdf"
    whole = path.read_bytes()
    for content, message in (
        (whole[:-300], "is damaged .*Incomplete data record"),
        (whole[: len(whole) // 2], "is damaged"),
        (whole[:1000], "is damaged"),
        (b"\xffBIOSEMI", "is damaged"),
        (b"0       " + whole[8:], "is not a BDF file"),
        (b"", "is not a BDF file"),
        (whole[:236] + b"-1      " + whole[244:], "is damaged"),
        (whole[:236] + b"many    " + whole[244:], "is damaged"),
        (whole[:252] + b"9999" + whole[256:], "is damaged"),
        (whole.replace(b"uV      ", b"mV      ", 1), "Fp1 of .* is in 'mV', not in uV"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            list(HciTaggingDataset(sessions).read(["p07"]))
        assert str(path) in str(caught.value)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="cannot be read \\(Is a directory\\)"):
        list(HciTaggingDataset(sessions).read(["p07"]))


@given(st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bdf_with_any_header_is_read_or_refused(session: Session, sessions: Path, data: st.DataObject) -> None:
    path = sessions / "2/Part_7_S_Trial2_emotion.bdf"
    if not path.exists():
        session(2)
        path.with_suffix(".kept").write_bytes(path.read_bytes())
    content = bytearray(path.with_suffix(".kept").read_bytes()[: 256 * 36 + 4 * 35 * 256 * 3])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(8, 256 * 36 - 1))
        content[at] = data.draw(st.sampled_from(b"0123456789-. e\xff\x00Z"))
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        list(HciTaggingDataset(sessions).read(["p07"]))


def test_data_command_lists_subjects_and_writes_recordings(
    session: Session, sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session(2)
    session(3, text=xml('<subject id="12"/>'))
    session(4, text=xml('<subject id="12"/>', mediaFile=None))
    session(5, text=xml('<subject id="3"/>'), events=())
    session(6, text=xml('<subject id="12"/>'), events=())
    name = f"hci:{sessions}"
    assert main(["data", "--data", name]) == 0
    assert capsys.readouterr().out == "p03\np07\np12\n"
    assert main(["data", "--data", name, "--subject", "p12", "--out", str(tmp_path / "out")]) == 0
    assert "1 of 3 sessions of p12 left out: Status has fewer than two events (6)" in capsys.readouterr().err
    written = list(RecordingsDataset(tmp_path / "out").read(["p12"]))
    for ours, theirs in zip(written, open_dataset(name).dataset.read(["p12"]), strict=True):
        np.testing.assert_array_equal(ours.gsr, theirs.gsr)
        np.testing.assert_array_equal(ours.eeg, theirs.eeg)
        assert (ours.name, ours.trials) == (theirs.name, theirs.trials)
    assert [recording.trials[0].name for recording in written] == ["69.avi", "4"]
    assert main(["data", "--data", name, "--subject", "p03", "--out", str(tmp_path / "p03.csv")]) == 2
    assert "no recording of p03 can be used: 1 of 1 sessions of p03 left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "named", "extra"),
    [
        (("edfio",), "edfio, which is", "train"),
        (("defusedxml",), "defusedxml, which is", "train"),
        (("edfio", "defusedxml"), "defusedxml and edfio, which are", "train"),
    ],
)
def test_missing_package_is_named_before_any_file_is_read(
    sessions: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], named: str, extra: str
) -> None:
    hide_packages(monkeypatch, *missing)
    with pytest.raises(ConfigError, match=rf"needs {named} not installed: run `pip install .*\[{extra}\]'`"):
        HciTaggingDataset(sessions / "absent")
