"""The same student gives the same logits and accuracy on a Raspberry Pi's processor as on this machine.

Reference kernels give the same bytes. The default kernels, written for each processor separately, differ by one or two
steps (LSB) of the int8 logits, which changes the class only where both classes are almost equally probable.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ekd_edge.signal.design import gsr_spec
from ekd_edge.signal.spec import Normalization, SignalSpec
from firmware_bridge.synthesis import simulated_blocks
from tests.helpers.paths import SHARED
from tests.pi.students import UNSEEN, Students, command
from tests.pi.trees import Installed, Tree

HERE = Path(__file__).parent
KERNELS = HERE.parent / "runtimes" / "kernels.py"
EDA = SHARED / "data/biosppy_eda/eda.txt"
PYTHON = "/root/ekd/bin/python"
MAX_STEPS = 4
MAX_LOGIT = 0.15
"""By how much default kernels may differ: in steps of int8 logits, in logits of other kinds; dynamic quantizes too."""

Found = Mapping[str, NDArray[Any]]


@pytest.fixture(scope="session")
def inputs(students: Students, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kernels")
    for kind, file in students.files.items():
        shutil.copy2(file, folder / f"{kind}.tflite")
        np.save(folder / f"{kind}.npy", students.inputs(kind))
    with np.load(KERNELS.with_name("golden_edge.npz")) as golden:
        (folder / "golden.bin").write_bytes(golden["flatbuffer"].tobytes())
        np.save(folder / "golden.npy", golden["codes"])
        np.save(folder / "golden-answers", golden["litert"])
    return folder


@pytest.fixture(scope="session")
def here(inputs: Path) -> Found:
    """The logits of this machine for the inputs."""
    done = subprocess.run([sys.executable, str(KERNELS), str(inputs)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(inputs / "found.npz") as found:
        return dict(found)


@pytest.fixture(scope="session")
def there(inputs: Path, installed: Installed) -> Callable[[str], Found]:
    found: dict[str, Found] = {}

    def run(number: str) -> Found:
        if number not in found:
            found[number] = _kernels_in(installed(number), inputs)
        return found[number]

    return run


def _kernels_in(tree: Tree, inputs: Path) -> Found:
    tree.put(inputs, "/root/kernels")
    tree.put(KERNELS, "/root/kernels.py")
    done = tree.run(PYTHON, "/root/kernels.py", "/root/kernels")
    assert done.returncode == 0, done.stderr
    with np.load(tree.inside("/root/kernels/found.npz")) as found:
        return dict(found)


def classes(logits: NDArray[Any]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = logits.reshape(len(logits), -1, 2).argmax(-1)
    return found


def unexplained_flips(one: NDArray[Any], other: NDArray[Any], most: float) -> int:
    """Predictions of another class where the classes were further apart than `most` on either side can explain."""
    flipped = classes(one) != classes(other)
    margins = np.abs(np.diff(one.astype(float).reshape(len(one), -1, 2), axis=-1))[..., 0]
    return int((flipped & (margins > 2 * most)).sum())


def test_reference_kernels_give_the_same_bytes(
    here: Found, there: Callable[[str], Found], inputs: Path, number
) -> None:
    found = there(number)
    np.testing.assert_array_equal(found["int8-reference"], here["int8-reference"])
    np.testing.assert_array_equal(found["golden-reference"], np.load(inputs / "golden-answers.npy"))
    assert len(found["int8-reference"]) >= 200


def test_default_kernels_differ_little_and_flip_nothing_unexplained(here: Found, there, number: str) -> None:
    found = there(number)
    for kind, most in (("int8", MAX_STEPS), ("float32", MAX_LOGIT), ("dynamic", MAX_LOGIT)):
        difference = np.abs(found[kind].astype(float) - here[kind])
        flips = int((classes(found[kind]) != classes(here[kind])).sum())
        rows = (difference > 0).any(1).mean()
        print(f"{kind}: {rows:.1%} of rows differ, by {difference.max():.3g} at most; {flips} flips")
        assert difference.max() <= most, kind
        assert unexplained_flips(here[kind], found[kind], difference.max()) == 0, kind


def test_unexplained_flip_is_detected() -> None:
    sure = np.array([[100, -100], [3, 0]], np.int8)
    assert unexplained_flips(sure, sure[:, ::-1], MAX_STEPS) == 1


def test_accuracy_is_the_same_but_for_the_flips(
    students: Students, installed: Installed, here: Found, there: Callable[[str], Found], number: str
) -> None:
    tree = installed(number)
    files = [students.files[kind] for kind in ("float32", "int8")]
    for file in files:
        tree.put(file, f"/root/{file.name}")
    words = ["--data", UNSEEN, "--json"]
    done = tree.run("/root/ekd/bin/ekd-eval", *(f"/root/{file.name}" for file in files), *words)
    assert done.returncode == 0, done.stderr
    theirs, ours = json.loads(done.stdout), json.loads(command("ekd-eval", *files, *words))
    assert theirs["windows"] == ours["windows"] == len(here["int8"])
    assert theirs["synthetic"] is True
    for one, other in zip(ours["models"], theirs["models"], strict=True):
        mine, its = one["targets"]["arousal"], other["targets"]["arousal"]
        print(f"{one['kind']}: accuracy {mine['accuracy']:.2%} here, {its['accuracy']:.2%} there")
        flips = int((classes(here[one["kind"]]) != classes(there(number)[one["kind"]])).sum())
        fewest = min(subject["windows"] for subject in mine["subjects"])
        assert abs(mine["accuracy"] - its["accuracy"]) <= flips / (fewest * len(mine["subjects"])) + 1e-12


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated signals, and a real one where it is here, with the rates and normalizations to try on them."""
    simulated = np.concatenate(list(islice(simulated_blocks(128, seed=9, block_samples=128), 120)))
    signals = {
        "128 16 log-ema": simulated,
        "128 128 ema": simulated,
        "39/2 16 ema-zscore": simulated,
        "1000/9 128 window": np.round(simulated, 3),
    }
    if EDA.exists():
        signals["1000 16 log-ema real"] = np.loadtxt(EDA)[:60_000] * (25 / 4096)
    path = tmp_path_factory.mktemp("chain") / "recordings.npz"
    specs = {f"spec {name}": np.array(json.dumps(_spec(name).to_json())) for name in signals}
    np.savez(path, **signals, **specs)
    return path


def _spec(name: str) -> SignalSpec:
    _, rate_hz, normalization = name.split()[:3]
    return gsr_spec(Fraction(rate_hz), window_s=4, hop_s=1, normalization=Normalization(normalization))  # type: ignore[arg-type]


def test_signal_chain_gives_the_same_bits(recordings: Path, installed: Installed, tmp_path: Path, number: str) -> None:
    """Windows (float32), filter and running mean (float64) are equal.

    numpy's logarithm and the sums of the resampler, which BLAS computes, differ in the last bits of some samples.
    """
    tree = installed(number)
    tree.put(recordings, "/root/recordings.npz")
    tree.put(HERE / "chain.py", "/root/chain.py")
    done = tree.run(PYTHON, "/root/chain.py", "/root/recordings.npz", "/root/windows.npz")
    assert done.returncode == 0, done.stderr
    ours = tmp_path / "windows.npz"
    subprocess.run([sys.executable, str(HERE / "chain.py"), str(recordings), str(ours)], check=True)
    with np.load(ours) as mine, np.load(tree.inside("/root/windows.npz")) as theirs:
        assert set(mine) == set(theirs)
        for name in mine:
            assert len(mine[name]) > 10, name
            stage = name.split()[0]
            wide = stage in ("filter", "resampler", "normalizer")
            assert mine[name].dtype == (np.float64 if wide else np.float32)
            if stage == "resampler" or (stage == "normalizer" and "log-ema" in name):
                np.testing.assert_allclose(theirs[name], mine[name], rtol=1e-14, atol=1e-14, err_msg=name)
            else:
                np.testing.assert_array_equal(theirs[name], mine[name], err_msg=name)
