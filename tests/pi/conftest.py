"""A real student, trained and exported here, and the project installed from its bundle in trees of a Pi's systems."""

import os
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout
from xdist.scheduler import LoadScopeScheduling

from tests.pi.students import Students, command, make_students
from tests.pi.trees import ARM64_12, ARM64_13, ARMHF_12, Installed, Tree, cannot_emulate, extract

SYSTEMS = {"12": ARM64_12, "13": ARM64_13}


class BySystem(LoadScopeScheduling):
    """Gives tests that share an installation to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        if "test_faults.py" in nodeid:
            return "32 bits" if "32_bits" in nodeid else "faults"
        return "12" if nodeid.endswith("[12]") else "13"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySystem | None:
    """Distribute tests by `BySystem` unless --dist is given."""
    return BySystem(config, log) if config.option.dist == "load" else None


@pytest.fixture(scope="session", autouse=True)
def _emulation() -> None:
    if reason := cannot_emulate():
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)


@pytest.fixture(scope="session")
def students(tmp_path_factory: pytest.TempPathFactory) -> Students:
    """One worker makes the students; a worker that waits for them fetches the systems meanwhile."""
    pytest.importorskip("torch", reason="the training extra is not installed")
    pytest.importorskip("litert_torch", reason="the export extra is not installed")
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    lock = FileLock(folder / "students.lock")
    try:
        with lock.acquire(timeout=0):
            return make_students(folder / "students")
    except Timeout:
        for debian in (*SYSTEMS.values(), ARMHF_12):
            extract(debian)
        with lock:
            return make_students(folder / "students")


@pytest.fixture(scope="session")
def bundles(students: Students, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function of a system's number that makes the bundle for it, once."""

    @cache
    def make(number: str) -> Path:
        path = tmp_path_factory.mktemp("bundles") / f"bundle-{number}.tar"
        command("ekd-edge", "bundle", "--os", number, "--model", students.files["int8"], "-o", path)
        return path

    return make


@pytest.fixture(scope="session")
def unpacked(bundles: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A function of a system's number: a tree of it with the unpacked bundle in /root, fresh at every call."""

    def make(number: str) -> Tree:
        tree = Tree.over(SYSTEMS[number], tmp_path_factory.mktemp("trees") / "tree")
        with tarfile.open(bundles(number)) as archive:
            archive.extractall(tree.inside("/root"), filter="data")
        return tree

    return make


@pytest.fixture(scope="session")
def installed(unpacked: Installed) -> Installed:
    """A function of a system's number: a tree of it where the bundle's installer ran once, without a network."""

    @cache
    def make(number: str) -> Tree:
        tree = unpacked(number)
        done = tree.run("python3", f"/root/ekd-pi-os-{number}/install.py", "--service")
        assert done.returncode == 0, done.stderr
        return tree

    return make


@pytest.fixture(params=SYSTEMS)
def number(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen
