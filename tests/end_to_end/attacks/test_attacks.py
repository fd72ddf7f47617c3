"""A process that reads ten thousand hostile model files refuses each in one sentence and does not crash."""

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ekd_edge.errors import ModelFileError
from ekd_edge.model.container import read_contents
from ekd_edge.model.file import load_model_file, save_model_file
from ekd_export.signing import new_key, read_private_key, sign_in_place
from tests.end_to_end.attacks.mutants import Victims, mutants
from tests.helpers.load import LOAD_S

SEED = 2026


@dataclass(frozen=True)
class Targets:
    signed: Path
    other: Path
    public: Path


@pytest.fixture(scope="module")
def targets(int8_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Targets:
    """The real int8 model, signed, and another model signed by the same key."""
    folder = tmp_path_factory.mktemp("attacks")
    public = new_key(folder / "key")
    model_file = load_model_file(int8_model)
    signed, other = folder / "signed.tflite", folder / "other.tflite"
    save_model_file(signed, model_file.flatbuffer, model_file.manifest)
    twin = model_file.flatbuffer[:-100] + bytes(byte ^ 1 for byte in model_file.flatbuffer[-100:])
    save_model_file(other, twin, replace(model_file.manifest, made_by="another hand"))
    for path in (signed, other):
        sign_in_place(path, read_private_key(folder / "key"))
    return Targets(signed, other, public)


@dataclass
class Outcome:
    """lines: (kind, outcome) of each file. deaths: exit statuses of processes that a file killed."""

    lines: list[tuple[str, str]]
    deaths: list[int]

    def counts(self) -> Counter[str]:
        return Counter(what for _, what in self.lines)


def attack(mode: str, targets: Targets, count: int) -> Outcome:
    """Run the attack; a process that dies is replaced by one that continues after the file that killed it."""
    outcome, start = Outcome([], []), 0
    while start < count:
        arguments = [targets.signed, targets.other, targets.public, count, SEED, start]
        command = [sys.executable, "-m", "tests.end_to_end.attacks.attack", mode, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        for line in done.stdout.splitlines():
            number, kind, what = (line + "\t").split("\t")[:3]
            start = int(number) + 1
            outcome.lines.append((kind, what or "died"))
        if done.returncode:
            outcome.deaths.append(done.returncode)
            assert done.returncode < 0, done.stderr
            assert done.stdout
    return outcome


def test_ten_thousand_hostile_files_are_refused(targets: Targets) -> None:
    outcome = attack("load", targets, 10_000)
    assert outcome.deaths == []
    assert Counter(line for line in outcome.lines if line[1] != "refused") == {}
    assert len(outcome.lines) == 10_000
    assert len({kind for kind, _ in outcome.lines}) == 14


def test_mutants_are_determined_by_the_seed(targets: Targets) -> None:
    victims = Victims(read_contents(targets.signed), read_contents(targets.other))
    assert list(mutants(victims, 200, 1)) == list(mutants(victims, 200, 1))


def test_recomputed_hash_is_refused_with_trust(targets: Targets) -> None:
    """Without trust such a model may run, give wrong logits, or crash the runtime (model-file.md states this)."""
    outcome = attack("rehash", targets, 1000)
    assert len(outcome.lines) == 1000
    assert outcome.counts().keys() <= {"refused", "ran", "non-finite logits", "died"}
    assert outcome.counts()["ran"] > 0


@pytest.mark.parametrize(
    "what", ["folder", "pipe", "socket", "device", "link to a device", "link to itself", "no link"]
)
def test_path_without_a_regular_file_is_refused_at_once(tmp_path: Path, what: str) -> None:
    path = tmp_path / "model.tflite"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    elif what == "device":
        path = Path("/dev/zero")
    else:
        path.symlink_to({"link to a device": "/dev/zero", "link to itself": path, "no link": "none"}[what])
    started = time.monotonic()
    with pytest.raises(ModelFileError) as caught:
        load_model_file(path)
    assert time.monotonic() - started < 5 + LOAD_S
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a\0b.tflite", "x" * 5000, "\udc80.tflite", "a/" * 3000])
def test_impossible_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError):
        load_model_file(tmp_path / name)


def test_link_to_a_model_is_accepted(targets: Targets, tmp_path: Path) -> None:
    (tmp_path / "link.tflite").symlink_to(targets.signed)
    assert load_model_file(tmp_path / "link.tflite").flatbuffer == load_model_file(targets.signed).flatbuffer
