"""Faulty installations as they occur on a Raspberry Pi: each gives one sentence with a remedy."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import ai_edge_litert
import numpy as np
import pytest

from ekd_edge.deploy.wheels import own_wheel
from tests.pi.students import command
from tests.pi.trees import ARM64_12, ARMHF_12, Installed, Tree

EDGE = ("python3", "-m", "ekd_edge.cli.main")
MODEL = "/root/student-int8.tflite"


def fetch(folder: Path, machine: str, *names: str) -> list[Path]:
    """Wheels for Debian 12 on that machine."""
    platforms = [word for minor in range(17, 37) for word in ("--platform", f"manylinux_2_{minor}_{machine}")]
    platforms += ["--platform", f"manylinux2014_{machine}"]
    words = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", "3.11", *platforms]
    subprocess.run([sys.executable, "-m", "pip", *words, "--dest", str(folder), *names], check=True)
    return sorted(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def site(bundles: Callable[[str], Path], unpacked: Installed, students, tmp_path_factory) -> Callable[..., Tree]:
    """A function that makes a Debian 12 with the packages of the bundle, less some and more, in /root/site."""
    wheels = list(unpacked("12").inside("/root/ekd-pi-os-12/wheels").glob("*.whl"))

    def make(without: str = "nothing", more: list[Path] = []) -> Tree:  # noqa: B006
        tree = Tree.over(ARM64_12, tmp_path_factory.mktemp("trees") / "tree")
        for wheel in [*wheels, *more]:
            if not wheel.name.startswith(("pip-", without)):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(tree.inside("/root/site"))
        tree.put(students.files["int8"], MODEL)
        return tree

    return make


def fails(tree: Tree, *words: str) -> str:
    """The only line of `ekd-edge` on stderr."""
    done = tree.run(*EDGE, *words, environment={"PYTHONPATH": "/root/site"})
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("ekd-edge: ")]
    assert len(lines) == 1
    return lines[0]


def diagnosis(tree: Tree) -> str:
    done = tree.run(*EDGE, "doctor", "--model", MODEL, environment={"PYTHONPATH": "/root/site"})
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize(("package", "name"), [(np, "numpy"), (ai_edge_litert, "ai-edge-litert")])
def test_package_of_another_processor_is_named(site: Callable[..., Tree], package, name: str) -> None:
    tree = site()
    folder = Path(package.__path__[0])
    shutil.rmtree(tree.inside(f"/root/site/{folder.name}"))
    tree.put(folder, f"/root/site/{folder.name}")
    sentence = (
        f"{name} in /root/site/{folder.name} was built for x86-64, but this Python is for 64-bit ARM: run `pip install "
        f"--force-reinstall --no-cache-dir {name}` on this machine"
    )
    assert sentence in fails(tree, "--port", "sim://", "--model", MODEL)
    assert sentence in diagnosis(tree)


def test_missing_runtime_is_named(site: Callable[..., Tree]) -> None:
    tree = site(without="ai_edge_litert")
    sentence = "no TFLite runtime is installed: run `pip install './ekd[pi]'`"
    assert sentence in fails(tree, "--port", "sim://", "--model", MODEL)
    assert sentence in diagnosis(tree)


def test_numpy_2_under_the_old_runtime_is_named(site: Callable[..., Tree], tmp_path: Path) -> None:
    tree = site(without="ai_edge_litert", more=fetch(tmp_path, "aarch64", "tflite-runtime==2.14.0"))
    assert "tflite-runtime does not work with numpy 2" in fails(tree, "--port", "sim://", "--model", MODEL)
    assert "run `pip install 'numpy<2'`" in diagnosis(tree)


def test_missing_package_is_named(site: Callable[..., Tree]) -> None:
    message = fails(site(without="pyserial"), "--port", "sim://", "--model", MODEL)
    assert "pyserial is not installed: run `pip install './ekd[pi]'`" in message


@pytest.fixture(scope="session")
def tree_32(students, bundles, unpacked: Installed, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A 32-bit Debian 12 installed as the documentation says: numpy and pyserial by apt, the rest by pip."""
    folder = tmp_path_factory.mktemp("wheels32")
    wheels = fetch(folder, "armv7l", "tflite-runtime==2.14.0", "cobs==1.2.0", "pip")
    wheels.append(own_wheel(folder))
    tree = Tree.over(ARMHF_12, tmp_path_factory.mktemp("trees") / "tree")
    for wheel in wheels:
        tree.put(wheel, f"/root/wheels/{wheel.name}")
    tree.put(students.files["int8"], MODEL)
    (pip,) = [wheel.name for wheel in wheels if wheel.name.startswith("pip-")]
    assert tree.run("python3", "-m", "venv", "--without-pip", "--system-site-packages", "/root/ekd").returncode == 0
    install = ["install", "--quiet", "--no-index", "--find-links", "/root/wheels", "ekd[pi32]"]
    done = tree.run("/root/ekd/bin/python", f"/root/wheels/{pip}/pip", *install)
    assert done.returncode == 0, done.stderr
    return tree


def test_32_bits_work_with_numpy_from_apt(tree_32: Tree, students, tmp_path: Path) -> None:
    rows = "".join(f"{5 + 0.01 * (index % 128):.4f}\n" for index in range(128 * 40))
    (tmp_path / "recording.csv").write_text(f"# rate_hz: 128\n# unit: uS\ngsr\n{rows}")
    tree_32.put(tmp_path / "recording.csv", "/root/recording.csv")
    done = tree_32.run("/root/ekd/bin/ekd-edge", "--replay", "/root/recording.csv", "--model", MODEL, "--json")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    ours = command("ekd-edge", "--replay", tmp_path / "recording.csv", "--model", students.files["int8"], "--json")
    assert len(done.stdout.splitlines()) == len(ours.splitlines()) == 6


def test_doctor_works_on_32_bits(tree_32: Tree) -> None:
    done = tree_32.run("/root/ekd/bin/ekd-edge", "doctor", "--model", MODEL)
    assert "a 32-bit Python" in done.stdout
    assert "tflite-runtime 2.14.0 with numpy 1.24.2" in done.stdout
    assert "FAULT" not in done.stdout


def test_reference_kernels_give_the_same_bytes_on_32_bits(tree_32: Tree, tmp_path: Path) -> None:
    runtimes = Path(__file__).parents[1] / "runtimes"
    with np.load(runtimes / "golden_edge.npz") as golden:
        (tmp_path / "golden.bin").write_bytes(golden["flatbuffer"].tobytes())
        np.save(tmp_path / "golden.npy", golden["codes"])
        expected = golden["micro"]
    tree_32.put(tmp_path, "/root/kernels")
    tree_32.put(runtimes / "kernels.py", "/root/kernels.py")
    done = tree_32.run("/root/ekd/bin/python", "/root/kernels.py", "/root/kernels")
    assert done.returncode == 0, done.stderr
    with np.load(tree_32.inside("/root/kernels/found.npz")) as found:
        np.testing.assert_array_equal(found["golden-reference"], expected)
