from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekd_edge.errors import ModelFileError
from ekd_edge.model.container import (
    MAX_MANIFEST_BYTES,
    SIGNATURE_BYTES,
    Contents,
    pack,
    read_contents,
    unpack,
    write_contents,
)

NOWHERE = Path("a.tflite")
contents = st.builds(
    Contents,
    flatbuffer=st.binary(max_size=300).map(lambda data: b"\x1c\0\0\0TFL3" + data),
    manifest=st.binary(min_size=1, max_size=300),
    signature=st.none() | st.binary(min_size=SIGNATURE_BYTES, max_size=SIGNATURE_BYTES),
)


@given(contents)
def test_packing_and_unpacking_are_inverses(whole: Contents) -> None:
    assert unpack(NOWHERE, pack(whole)) == whole


@given(whole=contents, data=st.data())
def test_container_bytes_are_unique_to_their_contents(whole: Contents, data: st.DataObject) -> None:
    """The contents determine every bit after the flatbuffer; the hash detects changes inside the flatbuffer."""
    packed = bytearray(pack(whole))
    position = data.draw(st.integers(len(whole.flatbuffer), len(packed) - 1))
    packed[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ModelFileError):
        unpack(NOWHERE, bytes(packed))


@given(whole=contents, data=st.data())
def test_part_of_a_container_is_refused(whole: Contents, data: st.DataObject) -> None:
    packed = pack(whole)
    with pytest.raises(ModelFileError):
        unpack(NOWHERE, packed[: data.draw(st.integers(0, len(packed) - 1))])


def test_nested_container_gives_the_outer_model() -> None:
    inner = Contents(b"\x1c\0\0\0TFL3", b"{}")
    outer = Contents(pack(inner), b"{}")
    assert unpack(NOWHERE, pack(outer)) == outer


def test_empty_or_huge_manifest_is_refused(tmp_path: Path) -> None:
    whole = Contents(b"\x1c\0\0\0TFL3", b"")
    with pytest.raises(ModelFileError, match="its parts do not match"):
        unpack(NOWHERE, pack(whole))
    huge = replace(whole, manifest=b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(ModelFileError, match="its parts do not match"):
        unpack(NOWHERE, pack(huge))
    with pytest.raises(ModelFileError, match="too large"):
        write_contents(tmp_path / "a.tflite", huge)
    assert list(tmp_path.iterdir()) == []


def test_largest_file_is_read(tmp_path: Path) -> None:
    whole = Contents(b"\x1c\0\0\0TFL3", b" " * MAX_MANIFEST_BYTES, bytes(SIGNATURE_BYTES))
    write_contents(tmp_path / "a.tflite", whole)
    assert read_contents(tmp_path / "a.tflite") == whole
