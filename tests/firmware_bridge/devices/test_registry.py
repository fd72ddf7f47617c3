"""The registry of built-in formats and of formats that other packages add."""

import subprocess
import sys
from pathlib import Path

import pytest

from firmware_bridge.devices.detect import open_decoder
from firmware_bridge.devices.registry import BUILT_IN, find_format, installed_formats, parse_format
from firmware_bridge.errors import ConfigError

PACKAGE = """
from dataclasses import replace
from firmware_bridge.devices.csv.decoder import FORMAT as CSV

FORMAT = replace(CSV, name="mydevice", recognises=lambda received: received.data.startswith(b"MINE"))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with an installed distribution that adds a format."""
    (tmp_path / "mydevice.py").write_text(PACKAGE)
    for name, target in (("mydevice", "mydevice:FORMAT"),):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[ekd.formats]\n{name} = {target}\n")
    return tmp_path


def run(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(path)}, timeout=300
    )


def test_every_format_has_its_name() -> None:
    for name in BUILT_IN:
        format = find_format(name)
        assert format.name == name
        assert format.about
        assert format.baud > 0
    assert [format.name for format in installed_formats()][: len(BUILT_IN)] == list(BUILT_IN)


def test_package_adds_a_format(package: Path) -> None:
    code = (
        "from firmware_bridge.devices.registry import find_format, installed_formats\n"
        "from firmware_bridge.devices.detect import DetectingDecoder\n"
        "from firmware_bridge.devices.stream import StreamOptions\n"
        "decoder = DetectingDecoder(StreamOptions())\n"
        "decoder.feed(b'MINE 1')\n"
        "print(find_format('mydevice').name, decoder.format.name, [f.name for f in installed_formats()][-1])"
    )
    done = run(code, package)
    assert done.stdout.split() == ["mydevice"] * 3, done.stderr


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("raise RuntimeError('no such chip')", "cannot be loaded: no such chip"),
        ("FORMAT = 3", "is not a DeviceFormat named"),
    ],
)
def test_broken_package_is_named_in_the_message(text: str, advice: str, package: Path) -> None:
    (package / "mydevice.py").write_text(text)
    done = run("from firmware_bridge.cli.main import main; raise SystemExit(main(['monitor', 'sim://']))", package)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert advice in done.stderr
    assert "mydevice" in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", ("auto", {})),
        ("bitalino:channel=A2", ("bitalino", {"channel": "A2"})),
        ("x:a=1,b=2=3", ("x", {"a": "1", "b": "2=3"})),
    ],
)
def test_format_text_has_a_name_and_settings(text: str, expected: tuple[str, dict[str, str]]) -> None:
    assert parse_format(text) == expected


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "is not a format"),
        ("csv:", "is not a format"),
        ("csv:a", "is not a format"),
        ("csv:=1", "is not a format"),
        ("bitalin", "did you mean bitalino"),
        ("bitalino:chanels=A1", "did you mean channels"),
        ("xml", "choose one of auto, ekd, csv, grove, shimmer3, bitalino"),
        ("csv:zero=1", "csv has no setting 'zero': it has no settings"),
        ("auto:zero=1", "auto has no setting"),
    ],
)
def test_unknown_formats_and_settings_are_refused(text: str, advice: str) -> None:
    with pytest.raises(ConfigError, match=advice):
        open_decoder(text)
