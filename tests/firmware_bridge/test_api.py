"""The public names of firmware_bridge: `open_device` and `emulate` with real pseudo-terminals."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import firmware_bridge
from firmware_bridge.devices.registry import BUILT_IN
from firmware_bridge.devices.stream import RawBlock

VALUES = np.linspace(2.0, 9.0, 256)


def first_blocks(path: str, format: str = "auto", samples: int = 100) -> list[RawBlock]:
    blocks: list[RawBlock] = []
    with firmware_bridge.open_device(path, format) as device:
        for block in device.blocks():
            blocks.append(block)
            if sum(len(each.values) for each in blocks) >= samples:
                return blocks
    return blocks


def test_public_names_resolve_and_are_listed() -> None:
    for name in firmware_bridge.__all__:
        assert getattr(firmware_bridge, name) is not None
        assert name in dir(firmware_bridge)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = firmware_bridge.nothing  # type: ignore[attr-defined]


@pytest.mark.parametrize("format", BUILT_IN)
def test_emulate_plays_a_simulated_person_in_every_format(format: str) -> None:
    with firmware_bridge.emulate(format, seconds=600, speed=20) as emulated:
        blocks = first_blocks(emulated.path, format)
    assert sum(len(block.values) for block in blocks) >= 100


def test_emulate_plays_an_array_of_microsiemens() -> None:
    with firmware_bridge.emulate("csv", VALUES, rate_hz=64, speed=0) as emulated:
        blocks = first_blocks(emulated.path, "csv")
    assert blocks[0].rate_hz == Fraction(64)
    start = blocks[0].first_index
    values = np.concatenate([block.values for block in blocks])
    np.testing.assert_allclose(values, VALUES[start : start + len(values)], atol=1e-3)


def test_emulate_plays_a_recording_and_makes_a_link(tmp_path: Path) -> None:
    recording = tmp_path / "recording.csv"
    recording.write_text("# rate_hz: 64\n# unit: uS\n" + "".join(f"{value:.6f}\n" for value in VALUES))
    with firmware_bridge.emulate("ekd", recording, speed=0, link=tmp_path / "sensor") as emulated:
        assert str((tmp_path / "sensor").readlink()) == emulated.path
        blocks = first_blocks(str(tmp_path / "sensor"), "ekd")
    assert blocks[0].rate_hz == Fraction(64)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"format_name": "bitalin"}, "did you mean bitalino"),
        ({"faults": ["unplugg@3"]}, "did you mean unplug"),
        ({"rate_hz": 0}, "rate_hz is 0"),
        ({"rate_hz": float("nan")}, "rate_hz is nan"),
        ({"speed": -1}, "speed is -1"),
        ({"seconds": float("inf")}, "seconds is inf"),
        ({"waveform": np.zeros((2, 2))}, "one-dimensional"),
        ({"waveform": np.array([np.nan])}, "finite"),
        ({"rate_hz": 100_001}, "rate_hz is 100001: give a number of Hz from 0.001 to 100000"),
    ],
)
def test_emulate_refuses_impossible_arguments(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(firmware_bridge.ConfigError, match=sentence):
        firmware_bridge.emulate(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [None, "1\n2\n3\n", "# rate_hz: 10\n1\n2\n3\n", "# rate_hz: 10\nadc\n1\n2\n3\n"])
def test_emulate_errors_name_no_command_line_option(text: str | None, tmp_path: Path) -> None:
    recording = tmp_path / "recording.csv"
    if text is not None:
        recording.write_text(text)
    with pytest.raises(firmware_bridge.EkdError) as caught:
        firmware_bridge.emulate("ekd", recording)
    assert "--" not in str(caught.value)
