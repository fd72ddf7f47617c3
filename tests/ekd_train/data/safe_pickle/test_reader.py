import contextlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ekd_edge.errors import DataError
from ekd_train.data.safe_pickle.reader import read_arrays

DTYPES = [np.dtype(order + kind) for order in "<>" for kind in ("f4", "f8", "i2", "i8", "u1")]
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
ARRAY = RECONSTRUCT + b"(cnumpy\nndarray\n(K\x00tU\x01btR"  # an array without its state
F8 = b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def read(path: Path, content: bytes) -> dict[str, Any]:
    path.write_bytes(content)
    return read_arrays(path)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pickles") / "s01.dat"


@given(
    protocol=st.integers(0, pickle.HIGHEST_PROTOCOL),
    array=st.sampled_from(DTYPES).flatmap(lambda d: arrays(d, array_shapes(max_dims=3, max_side=5))),
    fortran=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_pickles_of_python_3_are_read(file: Path, protocol: int, array: Any, fortran: bool) -> None:
    kept = {"data": np.asfortranarray(array) if fortran else array, "labels": array.T}
    found = read(file, pickle.dumps(kept, protocol))
    assert found.keys() == kept.keys()
    for name, expected in kept.items():
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].dtype == expected.dtype
        assert not found[name].flags.writeable


def test_pickles_of_python_2_are_read(file: Path, write_python2_pickle: Callable[..., None]) -> None:
    rng = np.random.default_rng(0)
    kept = {"labels": rng.uniform(1, 9, (3, 4)), "data": rng.standard_normal((3, 5, 300))}
    write_python2_pickle(file, **kept)
    content = file.read_bytes()
    with pytest.raises(UnicodeDecodeError):
        pickle.loads(content)
    reference = pickle.loads(content, encoding="latin1")
    found = read_arrays(file)
    assert found.keys() == reference.keys()
    for name, expected in kept.items():
        np.testing.assert_array_equal(found[name], expected)
        np.testing.assert_array_equal(found[name], reference[name])


def test_protocol_0_of_python_2_is_read(file: Path) -> None:
    values = np.array([[1.5, -2.0], [np.pi, 1e300]])
    raw = repr(values.tobytes())[1:].encode()
    content = (
        b"(dp1\nS'data'\np2\ncnumpy.core.multiarray\n_reconstruct\np3\n(cnumpy\nndarray\np4\n(I0\ntS'b'\ntRp5\n"
        b"(I1\n(L2L\nI2\ntcnumpy\ndtype\np6\n(S'f8'\nI0\nI1\ntRp7\n(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
        b"S" + raw + b"\ntbs."
    )
    np.testing.assert_array_equal(pickle.loads(content, encoding="latin1")["data"], values)
    np.testing.assert_array_equal(read(file, content)["data"], values)


# Malicious pickles. Each test first checks that `pickle.loads` executes them.


class Gadget:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def armed(canary: Path) -> dict[str, Any]:
    command, code = f"touch {canary}", f"open({str(canary)!r}, 'w').close()"
    shell = Gadget(os.system, command)
    return {
        "os.system": shell,
        "builtins.eval": Gadget(eval, code),
        "builtins.exec": Gadget(exec, code),
        "in a dict": {"data": np.zeros(2), "labels": shell},
        "in a dict's key": {("data", shell): 1},
        "in an array of objects": {"data": np.array([shell], dtype=object)},
        "numpy's own": Gadget(np.testing._private.utils.runstring, code, {}),  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("name", list(armed(Path())))
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_malicious_pickle_is_refused_and_not_executed(tmp_path: Path, name: str, protocol: int) -> None:
    canary = tmp_path / "ran"
    content = pickle.dumps(armed(canary)[name], protocol)
    try:
        pickle.loads(content)
    except TypeError:
        assert name == "in a dict's key"  # pickle executes the command before it fails to hash the key
    assert canary.exists()
    canary.unlink()
    with pytest.raises(
        DataError, match=r"contains (posix|nt|builtins|__builtin__|numpy\.testing|os|an array of type 'O8)"
    ):
        read(tmp_path / "s01.dat", content)
    assert not canary.exists()


def state(raw: bytes, shape: bytes = b"(K\x02t", dtype: bytes = F8) -> bytes:
    return b"(K\x01" + shape + dtype + b"\x89" + raw + b"tb"


def of_data(value: bytes) -> bytes:
    return b"\x80\x02}U\x04data" + value + b"s."


def long(text: bytes) -> bytes:
    return b"X" + len(text).to_bytes(4, "little") + text


SIXTEEN = b"T\x10\x00\x00\x00" + bytes(16)


def test_assembled_pickle_is_a_valid_array(file: Path) -> None:
    np.testing.assert_array_equal(read(file, of_data(ARRAY + state(SIXTEEN)))["data"], np.zeros(2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # foreign names, by every instruction that can import one
        (b"cos\nsystem\n(S'true'\ntR.", r"contains os\.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", r"contains os\.system"),
        (b"(S'true'\nios\nsystem\n.", "the instruction b'i'"),
        (b"(" + F8 + b"o.", "the instruction b'o'"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", r"the instruction b'\\x81'"),
        (b"\x80\x04cnumpy\nndarray\n)}\x92.", r"the instruction b'\\x92'"),
        (b"\x80\x02\x82\x01.", r"the instruction b'\\x82'"),
        (b"\x80\x02\x83\x01\x00.", r"the instruction b'\\x83'"),
        (b"\x80\x02\x84\x01\x00\x00\x00.", r"the instruction b'\\x84'"),
        (b"Pelsewhere\n.", "the instruction b'P'"),
        (b"U\x01aQ.", "the instruction b'Q'"),
        (b"\x80\x05\x97.", r"the instruction b'\\x97'"),
        (b"ccopyreg\n_reconstructor\n.", r"contains copyreg\._reconstructor"),
        (b"ccopy_reg\n_reconstructor\n.", r"contains copy_reg\._reconstructor"),
        (b"cnumpy\nload\n.", r"contains numpy\.load"),
        (b"cnumpy\nmemmap\n.", r"contains numpy\.memmap"),
        (b"cnumpy.core.multiarray\nscalar\n.", r"contains numpy\.core\.multiarray\.scalar"),
        (b"cnumpy\nndarray.tofile\n.", r"contains numpy\.ndarray\.tofile"),
        (b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.", r"contains numpy\.ndarray\.__class__"),
        (b"c" + b"a" * 300 + b"\nb\n.", "a line has no end"),
        # misuse of the known names
        (of_data(b"c_codecs\nencode\n(" + long(b"x") + b"U\x03zip" + b"tR"), r"a call of _codecs\.encode that numpy"),
        (of_data(b"c_codecs\nencode\n" + long("☃".encode()) + b"U\x06latin1\x86R"), "its bytes are not latin1 text"),
        (of_data(b"cnumpy\nndarray\n(K\x09K\x09tR"), r"a call of numpy\.ndarray"),
        (of_data(b"cnumpy\ndtype\n(U\x01OK\x00K\x01tR"), "an array of type 'O'"),
        (of_data(b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR"), "an array of type 'O8'"),
        (of_data(b"cnumpy\ndtype\n(U\x03V16K\x00K\x01tR"), "an array of type 'V16'"),
        (of_data(RECONSTRUCT + b"(cnumpy\ndtype\n(K\x00tU\x01btR"), "that numpy does not write"),
        (of_data(b"K\x01K\x01\x85R"), "a call that does not construct an array"),
        (of_data(RECONSTRUCT + b"K\x01R"), "a call that does not construct an array"),
        (of_data(b"cnumpy\nndarray\n}b"), "a state that is not of an array"),
        (of_data(RECONSTRUCT + b"N}U\x0c__defaults__K\x01s\x86b"), "a state that is not of an array"),
        (of_data(b"}}b"), "a state that is not of an array"),
        (of_data(ARRAY + b"}b"), "a state that is not of an array"),
        (of_data(ARRAY + b"(K\x01(K\x02t" + F8 + b"\x89tb"), "a state that is not of an array"),
        (of_data(ARRAY + state(b"(NNt")), "an array of objects"),
        (of_data(ARRAY + state(b"K\x05")), "an array of objects"),
        (of_data(F8 + b"(K\x03U\x01<}NNtb"), "a state that is not of an array"),
        (of_data(F8 + b"(K\x03U\x01zNNNtb"), "a byte order is invalid"),
        # objects that are not a dict of arrays
        (b"N.", "not a dict of arrays"),
        (b"(}.", "not a dict of arrays"),
        (ARRAY + state(SIXTEEN) + b".", "not a dict of arrays"),
        (of_data(b"K\x05"), "something other than an array under 'data'"),
        (of_data(b"}"), "something other than an array under 'data'"),
        (of_data(ARRAY), "the array 'data' has no values"),
        (b"\x80\x02}K\x01" + ARRAY + b"s.", "a name is not text"),
        # sizes larger than the file, and invalid sizes
        (of_data(ARRAY + state(b"T\xff\xff\xff\x7f")), "it is truncated"),
        (of_data(ARRAY + state(b"\x8e" + b"\xff" * 7 + b"\x7f")), "it is truncated"),
        (b"\x80\x04\x95" + b"\xff" * 7 + b"\x7fN.", "not a dict of arrays"),
        (of_data(ARRAY + state(SIXTEEN, b"(K\x03t")), "an array of 3 numbers has 16 bytes"),
        (of_data(ARRAY + state(SIXTEEN, b"(J\xff\xff\xff\xfft")), "the shape of an array is invalid"),
        (of_data(ARRAY + state(SIXTEEN, b"(\x8a\x09" + bytes(8) + b"\x01t")), "the shape of an array is invalid"),
        (of_data(ARRAY + state(SIXTEEN, b"(\x88K\x02t")), "the shape of an array is invalid"),
        (of_data(ARRAY + state(SIXTEEN, b"(" + b"K\x01" * 40 + b"t")), "the shape of an array is invalid"),
        (b"\x8b\xff\xff\xff\x7f", r"the instruction b'\\x8b'"),
        (b"I" + b"9" * 5000 + b"\n.", "a line has no end"),
        (b"Ione\n.", "a number is invalid"),
        (b"N" * 20_000 + b".", "more than 10000 instructions"),
        (long(b"x" * 1000) + b"q\x01" + b"c_codecs\nencode\nh\x01U\x06latin1\x86R" * 50 + b".", "encoded many times"),
        # malformed files
        (b"\x80\x02}U\x04da", "it is truncated"),
        (b".", "not a dict of arrays"),
        (b"s.", "reads from an empty stack"),
        (b"q\x00.", "reads from an empty stack"),
        (b"h\x00.", "reads a value that was not stored"),
        (b"t.", "a mark that does not exist"),
        (b"(K\x01d.", "an object that is not a dict"),
        (b"N(NNu.", "an object that is not a dict"),
        (b"S'abc\n.", "a string has no quotes"),
        (b"S'\\x0'\n.", "an invalid escape"),
        (b"X\x01\x00\x00\x00\xff.", "a text is not valid in its encoding"),
        (b"\x80\x04NN\x93.", "a name is not text"),
        (b"PK\x03\x04", "the instruction b'P'"),
        (b"", "is empty"),
    ],
)
def test_pickle_that_numpy_does_not_write_is_refused(file: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(file, content)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_key_with_exponential_hash_time_is_refused(file: Path) -> None:
    doubled = b")q\x00" + b"".join(b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86q" + bytes([n + 1]) for n in range(90))
    with pytest.raises(DataError, match="a name is not text"):
        read(file, doubled + b"}h" + bytes([90]) + b"Ns.")


@given(st.data())
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_file_is_read_or_refused(
    file: Path, write_python2_pickle: Callable[..., None], data: st.DataObject
) -> None:
    write_python2_pickle(file, labels=np.ones((2, 2)), data=np.ones((2, 3)))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content)) | st.just(len(content))) :]
    with contextlib.suppress(DataError):
        assert all(isinstance(array, np.ndarray) for array in read(file, bytes(content)).values())


def test_missing_and_too_large_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read \\(No such file"):
        read_arrays(tmp_path / "none.dat")
    with pytest.raises(DataError, match="cannot be read \\(Is a directory"):
        read_arrays(tmp_path)
    with (tmp_path / "vast.dat").open("wb") as out:
        out.truncate(2**30)
    with pytest.raises(DataError, match="has 1024 MB, but files of up to 512 MB"):
        read_arrays(tmp_path / "vast.dat")
