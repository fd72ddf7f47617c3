"""Writes that fail: on a full tmpfs, above a file size limit, on a read-only file system, below a file."""

import json
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ekd_edge.atomic_files import append_line, read_plain_file, write_json, write_whole
from ekd_edge.errors import ConfigError
from ekd_train.checkpoint import load_weights, save_weights
from ekd_train.cli.main import main

SIZE = 256 * 1024


@contextmanager
def _tmpfs(folder: Path, size: int = SIZE) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount the small tmpfs that is to fill up; the file size limit is tested regardless")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def _file_size_limit() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(params=["full disk", "size limit"])
def cramped(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder in which no file larger than SIZE can be written, and the expected cause in the error."""
    if request.param == "full disk":
        with _tmpfs(tmp_path / "small") as folder:
            yield folder, "the disk is full: free some space"
    else:
        with _file_size_limit():
            yield tmp_path, "size limit"


def test_checkpoint_on_a_full_disk_keeps_the_previous_one(cramped: tuple[Path, str]) -> None:
    folder, said = cramped
    path = folder / "checkpoint-student.safetensors"
    small = nn.Linear(10, 10)
    save_weights(path, small, epoch=3)
    with pytest.raises(ConfigError, match=said) as refused:
        save_weights(path, nn.Linear(400, 400), epoch=4)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(folder.iterdir()) == [path]
    restored = nn.Linear(10, 10)
    assert load_weights(path, restored)["epoch"] == 3
    assert torch.equal(restored.weight, small.weight)


def test_json_on_a_full_disk_keeps_the_previous_file(cramped: tuple[Path, str]) -> None:
    folder, said = cramped
    write_json(folder / "run.json", {"epoch": 3})
    with pytest.raises(ConfigError, match=said):
        write_json(folder / "run.json", ["x" * 100] * 4000)
    assert list(folder.iterdir()) == [folder / "run.json"]
    assert json.loads((folder / "run.json").read_text()) == {"epoch": 3}


def test_line_on_a_full_disk_keeps_the_previous_lines(cramped: tuple[Path, str]) -> None:
    folder, said = cramped
    path = folder / "metrics.jsonl"
    lines = []

    def fill() -> None:
        for number in range(1000):
            line = json.dumps({"number": number, "padding": "x" * 1000})
            append_line(path, line)
            lines.append(line)

    with pytest.raises(ConfigError, match=said):
        fill()
    assert len(lines) > 100
    assert path.read_text() == "".join(f"{line}\n" for line in lines)


def test_read_only_file_system_is_named(tmp_path: Path) -> None:
    with _tmpfs(tmp_path / "small") as folder:
        write_json(folder / "run.json", 1)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        for write in (write_json, lambda path, _: append_line(path, "")):
            with pytest.raises(ConfigError, match="read-only"):
                write(folder / "run.json", 2)
        assert (folder / "run.json").read_text() == "1\n"


def test_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    for path in (tmp_path / "taken/run.json", tmp_path / "taken/deeper/run.json"):
        with pytest.raises(ConfigError, match="not a folder"):
            write_json(path, {})
        with pytest.raises(ConfigError, match="not a folder"):
            append_line(path, "")
    assert (tmp_path / "taken").read_text() == "mine"


def test_written_files_are_read_back(tmp_path: Path) -> None:
    write_whole(tmp_path / "new/folder/x", b"abc")
    write_whole(tmp_path / "new/folder/x", b"de")
    assert (tmp_path / "new/folder/x").read_bytes() == b"de"


@given(
    lines=st.lists(st.text(st.characters(blacklist_characters="\n\r", blacklist_categories=["Cs"]), max_size=9000)),
    torn=st.binary(max_size=9000).filter(lambda data: b"\n" not in data),
)
def test_incomplete_line_is_cut_off_before_the_next(
    lines: list[str], torn: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("lines") / "metrics.jsonl"
    for line in lines:
        append_line(path, line)
    with path.open("ab") as file:
        file.write(torn)
    append_line(path, "{}")
    assert path.read_bytes() == b"".join(f"{line}\n".encode() for line in [*lines, "{}"])


TINY = """
data = "synthetic?subjects=4&trials=6&trial_s=20"
signal = { rate_hz = "64", window_s = 2.0, hop_s = 2.0 }
network = { filters = 8, heads = 2, key_size = 4, ffn = 8 }
teacher = { epochs = 1, batch_size = 16 }
student = { epochs = 3, batch_size = 16 }
"""


def test_training_on_a_full_disk_ends_in_a_sentence_and_resumes_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")
    arguments = ["--preset", str(tmp_path / "tiny.toml"), "--device", "cpu", "--threads", "1"]
    assert main([*arguments, "--out", str(tmp_path / "whole")]) == 0
    with _tmpfs(tmp_path / "small", 3 << 20) as folder:  # room for one checkpoint of the student, not for two
        capsys.readouterr()
        assert main([*arguments, "--out", str(folder / "run")]) == 2
        messages = capsys.readouterr().err.splitlines()[-1]
        assert messages.startswith(
            f"ekd-train: cannot write {folder}/run/checkpoint-student.safetensors: the disk is full"
        )
        assert not list(folder.rglob("*.part"))
        subprocess.run(["mount", "-o", f"remount,size={16 << 20}", str(folder)], check=True)
        assert main(["--resume", str(folder / "run"), "--device", "cpu", "--threads", "1"]) == 0
        assert "student: resumed after epoch 1 of 3" in capsys.readouterr().err
        finished = (folder / "run/student.safetensors").read_bytes()
    assert finished == (tmp_path / "whole/student.safetensors").read_bytes()


def test_refused_file_leaves_no_descriptor_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large").write_bytes(bytes(100))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "large"):
        with pytest.raises(ValueError, match="it is "):
            read_plain_file(path, 99)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
