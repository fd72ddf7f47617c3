"""Files as people write them: replay and training give the same samples, or refuse with the same sentence."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from ekd_edge.errors import EkdError
from ekd_edge.sources.sensor import SensorOptions, replay_blocks
from ekd_train.data.datasets.recordings import RecordingsDataset
from firmware_bridge.units import Unit, parse_unit
from tests.helpers.paths import SHARED

VALUES = [4.8 + 0.4 * math.sin(k / 160) for k in range(960)]
"""60 s of conductance in uS at 16 Hz."""
LABELS = "recording,subject,trial,start_s,end_s,arousal\na,a,t,0,50,3\n"
CASES = SHARED / "cases"


@dataclass(frozen=True)
class Case:
    """A file, and what both readers make of it: samples in uS with NaN in gaps, or a sentence."""

    text: bytes
    sentence: str | None = None
    lost: tuple[int, int] = (0, 0)
    rate_hz: int = 16
    unit: str = "uS"
    default_unit: bool = True


def rows(form: str, header: str = "", gap_s: float = 0.0, scale: float = 1.0) -> str:
    """Lines with t in seconds, i as the number and v as the value of a sample; from sample 400 on gap_s later."""
    lines = (form.format(t=k / 16 + gap_s * (k >= 400), i=k, v=v * scale) for k, v in enumerate(VALUES))
    return header + "".join(line + "\n" for line in lines)


def iso(k: int) -> str:
    return (datetime(2024, 1, 1, 10) + timedelta(seconds=k / 16)).isoformat(timespec="milliseconds")


def without(text: str, cell: str, header_lines: int) -> str:
    """The text with another cell in place of the last one in rows 400 to 499."""
    lines = text.splitlines()
    for k in range(header_lines + 400, header_lines + 500):
        lines[k] = ",".join([*lines[k].split(",")[:-1], cell])
    return "\n".join(lines) + "\n"


RATE = "# rate_hz: 16\n"
TIMED = rows("{t:.4f},{v:.4f}", "time_s,gsr_us\n")
CONTENTS = {
    "04 semicolons": Case(rows("{t:.4f};{v:.4f}", "time_s;gsr_us\n").replace(".", ",").encode()),
    "04 one column": Case(
        rows("{v:.4f}", RATE + "gsr\n").replace(".", ",").encode(), "'4,8000': write numbers with a point"
    ),
    "06 plain": Case(rows("{v:.4f}", RATE + "gsr_us\n").encode()),
    "07 ISO times": Case(("timestamp,eda\n" + "".join(f"{iso(k)},{v:.4f}\n" for k, v in enumerate(VALUES))).encode()),
    "08 hole": Case(rows("{t:.4f},{v:.4f}", RATE + "timestamp,gsr_us\n", gap_s=600.0).encode(), lost=(400, 400 + 9600)),
    "09 milliseconds": Case(
        "".join(["time,gsr_us\n", *(f"{k * 62.5:.3f},{v:.4f}\n" for k, v in enumerate(VALUES))]).encode(),
        r"'time' shows 0\.016 Hz in seconds, outside of 0\.5 to 4096 Hz: .*\(16 Hz if they are milliseconds: time_ms\)",
    ),
    "10 microseconds": Case("".join(f"{12345 + k * 62500},{v:.4f}\n" for k, v in enumerate(VALUES)).encode()),
    "13 kohm": Case("".join([RATE, "gsr_kohm\n", *(f"{1e3 / v:.4f}\n" for v in VALUES)]).encode(), unit="kohm"),
    "13 unit in brackets": Case(rows("{t:.4f},{v:.4f}", "time_s,EDA (uS)\n").encode()),
    "13 Windows-1252": Case(rows("{t:.4f},{v:.4f}", "time_s,µS\n").encode("cp1252")),
    "13 tabs": Case(rows("{t:.4f}\t{v:.4f}", "time_s\tgsr_us\n").encode()),
    "13 CR": Case(TIMED.replace("\n", "\r").encode()),
    "13 UTF-16": Case(TIMED.encode("utf-16")),
    "13 index": Case(rows("{i},{t:.4f},{v:.4f}", ",time_s,EDA_Raw\n").encode()),
    "13 trailing": Case(rows("{v:.4f},", "# rate_hz: 16,\ngsr_us,\n").encode()),
    "16 siemens": Case(rows("{v:.6e}", RATE + "# unit: S\neda\n", scale=1e-6).encode(), unit="S", default_unit=False),
    "16 nanosiemens": Case(rows("{v:.2f}", RATE + "eda [nS]\n", scale=1e3).encode(), unit="nS", default_unit=False),
    "19 blank lines": Case(without(rows("{v:.4f}", RATE + "gsr_us\n"), "", 2).encode(), lost=(400, 500)),
    "19 NA": Case(without(TIMED, "NA", 1).encode(), lost=(400, 500)),
    "19 empty cell": Case(without(TIMED, "", 1).encode(), lost=(400, 500)),
    "19 ovf": Case(without(rows("{v:.4f}", RATE + "gsr_us\n"), "ovf", 2).encode(), lost=(400, 500)),
    "40 two rates": Case(
        b"# rate_hz: 128\n" + TIMED.encode(),
        "the stated rate is 128 Hz but the time column 'time_s' shows 16 Hz in seconds",
    ),
    "44 host times": Case("".join(f"{1704103200.123 + k / 16:.6f},{v:.4f}\n" for k, v in enumerate(VALUES)).encode()),
    "44 whole seconds": Case("".join(f"{1704103200 + k // 16},{v:.4f}\n" for k, v in enumerate(VALUES)).encode()),
    "45 numpy": Case(rows("{t:.18e},{v:.18e}", "# time_s,gsr_us\n").encode()),
    "45 numpy with spaces": Case(rows("{t:.18e} {v:.18e}", "# time_s gsr_us\n").encode()),
    "53 header again": Case(
        "".join(
            ("millis,gsr_us\n" if k % 100 == 0 else "") + f"{k * 62.5:.1f},{v:.4f}\n" for k, v in enumerate(VALUES)
        ).encode()
    ),
    "54 LF CR": Case(rows("{v:.4f}", RATE + "gsr_us\n").replace("\n", "\n\r").encode()),
    "67 counts": Case(
        rows("{v:.0f}", RATE + "# unit: adc\ngsr\n", scale=40.0).encode(), "do not state the ADC's resolution"
    ),
}


def replayed(path: Path, default: Unit | None = None) -> np.ndarray:
    """The samples of a replay in uS, with NaN in gaps."""
    blocks = list(replay_blocks(path, SensorOptions(default_unit=default)))
    assert {block.segment for block in blocks} == {0}
    found = np.full(blocks[-1].first_index + len(blocks[-1].values), np.nan)
    for block in blocks:
        found[block.first_index : block.first_index + len(block.values)] = block.values
    return found


@pytest.mark.parametrize("name", CONTENTS)
def test_file_gives_the_same_samples_in_replay_and_training(name: str, tmp_path: Path) -> None:
    case = CONTENTS[name]
    path = tmp_path / "a.csv"
    path.write_bytes(case.text)
    (tmp_path / "labels.csv").write_text(LABELS)
    default = Unit() if case.default_unit else None
    if case.sentence is not None:
        with pytest.raises(EkdError, match=case.sentence) as of_replay:
            replayed(path, None if "counts" in name else default)
        with pytest.raises(EkdError, match=case.sentence) as of_training:
            list(RecordingsDataset(tmp_path).read(["a"]))
        assert str(of_replay.value) == str(of_training.value)
        return
    (recording,) = RecordingsDataset(tmp_path).read(["a"])
    assert recording.rate_hz == case.rate_hz
    assert recording.unit is not None
    assert recording.unit.kind == parse_unit(case.unit).kind
    expected = np.array(VALUES)
    if case.lost[1] > 500:
        expected = np.concatenate([expected[:400], np.full(case.lost[1] - 400, np.nan), expected[400:]])
    expected[slice(*case.lost)] = np.nan
    np.testing.assert_allclose(recording.gsr, expected, atol=6e-5)
    np.testing.assert_array_equal(replayed(path, default), recording.gsr)


def files_of_cases() -> Iterator[Path]:
    for number in ("04", "06", "07", "08", "09", "10", "13", "16", "19", "40", "44", "45", "53", "54", "67"):
        yield from sorted(path for path in (CASES / number).rglob("*") if path.suffix in (".csv", ".txt"))


@pytest.mark.skipif(not CASES.is_dir(), reason="the folder of cases is not part of the project")
def test_cases_give_the_same_samples_in_replay_and_training(tmp_path: Path) -> None:
    """Every file is refused by both, or gives both the same samples, with a duration of 60 s or more."""
    (tmp_path / "labels.csv").write_text(LABELS)
    number = 0
    for path in files_of_cases():
        if path.name == "labels.csv":
            continue
        number += 1
        (tmp_path / "a.csv").write_bytes(path.read_bytes())
        sentences, samples = [], []
        for read in (lambda: replayed(tmp_path / "a.csv", Unit()), lambda: trained(tmp_path)):
            try:
                samples.append(read())
            except EkdError as error:
                sentences.append(str(error))
        if len(samples) == 2:
            np.testing.assert_array_equal(samples[0], samples[1], err_msg=str(path))
            assert len(samples[0]) >= 60 * 16, path
        elif not sentences[-1].startswith(f"{tmp_path / 'a.csv'}: the median is"):
            # The default unit of a replay completes what training has to refuse.
            assert len(sentences) == 2, (path, sentences)
            assert sentences[0] == sentences[1], path
    assert number > 40


def trained(folder: Path) -> np.ndarray:
    (recording,) = RecordingsDataset(folder).read(["a"])
    return recording.gsr
