from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekd_edge.errors import DataError
from ekd_train.data.cache.row_files import RowArray, RowFile, WriteError, gather, map_rows

SHAPES = [(3,), (2, 5)]


def some(count: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, *shape), dtype=np.float32)


def written(path: Path, parts: list[np.ndarray]) -> tuple[int, ...]:
    file = RowFile(path)
    for part in parts:
        file.append(part)
    shape = file.finish()
    file.close()
    return shape


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=20, deadline=None)
@given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_appended_rows_are_in_memory_and_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], counts: list[int]
) -> None:
    parts = [some(count, shape, seed) for seed, count in enumerate(counts)]
    whole = np.concatenate(parts)
    array = RowArray()
    for part in parts:
        array.append(part[:, ::-1][:, ::-1])
    np.testing.assert_array_equal(array.array(), whole)
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    assert written(path, parts) == whole.shape
    loaded = np.load(path)
    np.testing.assert_array_equal(loaded, whole)
    assert loaded.dtype == np.float32


def test_rows_of_another_shape_are_refused(tmp_path: Path) -> None:
    for rows in (RowArray(), RowFile(tmp_path / "rows.npy")):
        rows.append(some(2, (3,)))
        with pytest.raises(DataError, match=r"windows of shape \(4,\) cannot be added to windows of shape \(3,\)"):
            rows.append(some(2, (4,)))
        if isinstance(rows, RowFile):
            rows.close()


@settings(max_examples=40, deadline=None)
@given(edges=st.lists(st.integers(0, 12), max_size=6).map(sorted))
def test_gather_returns_the_rows_of_each_span(tmp_path_factory: pytest.TempPathFactory, edges: list[int]) -> None:
    whole = some(12, (2, 3))
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    mapped = map_rows(path, written(path, [whole]))
    spans = list(zip(edges[::2], edges[1::2], strict=False))
    expected = whole[[row for begin, end in spans for row in range(begin, end)]]
    for array in (whole, mapped):
        rows = gather(array, spans)
        np.testing.assert_array_equal(rows, expected)
        assert type(rows) is np.ndarray
        assert np.shares_memory(rows, array) == (len(spans) == 1 and len(rows) > 0)


def test_deleted_file_is_gathered_from_its_map_and_a_truncated_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    whole = some(9, (5,))
    mapped = map_rows(path, written(path, [whole]))
    saved = path.read_bytes()
    path.unlink()
    np.testing.assert_array_equal(gather(mapped, [(0, 2), (7, 9)]), whole[[0, 1, 7, 8]])
    path.write_bytes(saved[:-8])
    with pytest.raises(DataError, match="truncated"):
        gather(mapped, [(0, 2), (7, 9)])


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b"\x94" + b[1:], lambda b: b""])
def test_changed_file_is_not_mapped(tmp_path: Path, damage) -> None:
    path = tmp_path / "rows.npy"
    shape = written(path, [some(3, (4,))])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="is not an array of shape"):
        map_rows(path, shape)


def test_writes_to_a_map_do_not_change_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    mapped = map_rows(path, written(path, [some(3, (4,))]))
    before = path.read_bytes()
    mapped[:] = 7.0
    mapped.flush()
    assert path.read_bytes() == before


def test_missing_folder_is_a_write_error(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="No such file"):
        RowFile(tmp_path / "nowhere" / "rows.npy")
