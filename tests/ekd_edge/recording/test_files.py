"""The folders of ports and the order of files."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.recording.files import FileName, file_name, in_order, recording_folder


@pytest.mark.parametrize(
    ("port", "start"),
    [("/dev/ttyUSB0", "dev-ttyUSB0-"), ("..", "port-"), ("a\x1b[2J", "a-2J-"), ("x" * 300, "x" * 64 + "-")],
)
def test_folder_of_a_port_is_printable_and_short(port: str, start: str) -> None:
    folder = recording_folder(Path("base"), port)
    assert folder.parent == Path("base")
    assert re.fullmatch(re.escape(start) + "[0-9a-f]{8}", folder.name)
    assert recording_folder(Path("base"), "ttyUSB0").name == "ttyUSB0"


@given(st.lists(st.text(st.sampled_from("ab/-. \x1b0123456789abcdef"), min_size=1, max_size=12), unique=True))
def test_ports_never_share_a_folder(ports: list[str]) -> None:
    assert len({recording_folder(Path("r"), port) for port in ports}) == len(ports)


def test_files_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = [
        "20251125T101530Z-4711-0001.ekdrec",  # of format 1
        "20261125T101530Z-12-0001.ekdrec",
        FileName(9, 2).text("20300101T000000Z"),
        FileName(9, 10_000).text("20200101T000000Z"),
        FileName(10, 1).text("20100101T000000Z"),
        FileName(1_000_000, 1).text("20000101T000000Z"),
    ]
    for name in reversed(names):
        (tmp_path / name).touch()
    assert [path.name for path in in_order(tmp_path)] == names
    assert [file_name(path) for path in in_order(tmp_path)][2:4] == [FileName(9, 2), FileName(9, 10_000)]
    assert file_name(Path(names[0])) is None
