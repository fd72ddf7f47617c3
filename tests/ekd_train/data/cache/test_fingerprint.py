import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ekd_edge
import ekd_train
import firmware_bridge
from ekd_edge.errors import DataError
from ekd_train.data.cache.fingerprint import cache_folder, hash_files
from ekd_train.data.datasets.recordings import RecordingsDataset
from ekd_train.data.datasets.synthetic import SyntheticConfig, SyntheticDataset

LARGE = 1 << 20


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EKD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is large enough and old enough for its digest to be stored."""
    path = tmp_path_factory.mktemp("data") / "large.bin"
    path.write_bytes(os.urandom(LARGE))
    time.sleep(2.05)
    return path


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("EKD_CACHE")
    assert cache_folder() == Path("/home/of/me/.cache/ekd")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/no/place")
    assert cache_folder() == Path("/home/of/me/.cache/ekd")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert cache_folder() == Path("/var/cache/ekd")
    monkeypatch.setenv("EKD_CACHE", "~/windows")
    assert cache_folder() == Path("/home/of/me/windows")
    for off in ("", "off", "OFF"):
        monkeypatch.setenv("EKD_CACHE", off)
        assert cache_folder() is None


def test_hash_depends_on_names_contents_and_order_but_not_on_the_folder(tmp_path: Path) -> None:
    found = []
    for place, names, texts in [
        ("one", "ab", "xy"),
        ("two", "ab", "xy"),
        ("three", "ab", "yx"),
        ("four", "ac", "xy"),
        ("five", "ba", "yx"),
        ("six", "a", "xy"),
    ]:
        (tmp_path / place).mkdir()
        for name, text in zip(names, texts, strict=False):
            (tmp_path / place / name).write_text(text)
        found.append(hash_files(tmp_path / place, [tmp_path / place / name for name in names]))
    assert found[0] == found[1]
    assert len(set(found)) == 5


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"PATH": 3}', '{"PATH": []}', '{"PATH": [1, 2, 3, "abc"]}', "\0"])
def test_damaged_memo_is_replaced(cache: Path, large: Path, damage: str) -> None:
    cache.mkdir()
    (cache / "hashes.json").write_text(damage.replace("PATH", str(large)))
    first = hash_files(large.parent, [large])
    (saved,) = json.loads((cache / "hashes.json").read_text()).values()
    assert len(saved[-1]) == 64
    assert hash_files(large.parent, [large]) == first
    assert [path.name for path in cache.iterdir()] == ["hashes.json"]


def test_digest_of_a_large_file_is_stored_until_the_file_changes(cache: Path, large: Path) -> None:
    first = hash_files(large.parent, [large])
    memo = json.loads((cache / "hashes.json").read_text())
    ((path, entry),) = memo.items()
    assert path == str(large)
    forged = {path: [*entry[:-1], "0" * 64]}
    (cache / "hashes.json").write_text(json.dumps(forged))
    assert hash_files(large.parent, [large]) != first, "the memory is not used"
    (cache / "hashes.json").write_text(json.dumps(memo))
    about, content = large.stat(), bytearray(large.read_bytes())
    content[LARGE // 2] ^= 1
    large.write_bytes(content)
    os.utime(large, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert hash_files(large.parent, [large]) != first
    assert json.loads((cache / "hashes.json").read_text()) == memo, "a file that just changed was remembered"


def test_digests_of_small_files_are_not_stored(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "small").write_text("x")
    hash_files(tmp_path, [tmp_path / "small"])
    assert not cache.exists()


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*absent: No such file"):
        hash_files(tmp_path, [tmp_path / "absent"])


def test_fingerprint_of_synthetic_data_depends_on_the_configuration() -> None:
    configs = [SyntheticConfig(), SyntheticConfig(seed=1), SyntheticConfig(subjects=2), SyntheticConfig(trial_s=30)]
    configs.append(SyntheticConfig(difficulty="hard"))
    assert len({SyntheticDataset(config).fingerprint() for config in configs}) == len(configs)


def test_fingerprint_of_recordings_depends_on_labels_and_samples(folder: Path) -> None:
    first = RecordingsDataset(folder).fingerprint()
    assert RecordingsDataset(folder).fingerprint() == first
    shutil.copytree(folder, folder.parent / "moved")
    assert RecordingsDataset(folder.parent / "moved").fingerprint() == first
    (folder / "unlabeled.csv").write_text("gsr\n1\n")
    assert RecordingsDataset(folder).fingerprint() == first
    seen = {first}
    for name in ("labels.csv", "s001.csv"):
        text = (folder / name).read_text()
        (folder / name).write_text(text[::-1].replace("1", "2", 1)[::-1])
        assert len(text) == len((folder / name).read_text())
        seen.add(RecordingsDataset(folder).fingerprint())
    assert len(seen) == 3


def test_code_is_part_of_every_key(tmp_path: Path) -> None:
    """In copies of the packages, an edit of a file that determines windows changes the digest, other edits do not."""
    for package in (firmware_bridge, ekd_edge, ekd_train):
        source = Path(package.__path__[0])
        shutil.copytree(source, tmp_path / source.name, ignore=shutil.ignore_patterns("__pycache__"))

    def digest() -> bytes:
        command = [sys.executable, "-c", "from ekd_train.data.cache.fingerprint import CODE as c; print(c)"]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, check=True).stdout

    seen = [digest()]
    (tmp_path / "ekd_train/distill.py").write_text("# nothing between data and windows\n")
    assert digest() == seen[0]
    for name in (
        "ekd_edge/signal/normalize.py",
        "firmware_bridge/synthesis.py",
        "ekd_train/data/windows.py",
        "ekd_train/data/synthetic.py",
        "firmware_bridge/devices/csv/layout.py",
    ):
        with (tmp_path / name).open("a") as file:
            file.write("# changed\n")
        seen.append(digest())
    assert len(set(seen)) == 6
