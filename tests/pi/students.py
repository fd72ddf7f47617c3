"""A student that is trained and exported in half a minute, and windows of held-out subjects."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ekd_edge.model.file import ModelFile, load_model_file
from ekd_train.data.source import open_dataset

__all__ = ["UNSEEN", "Students", "command", "encode", "make_students"]

UNSEEN: Final = "synthetic?subjects=4&trials=2&trial_s=60&seed=77"
"""People that no model here was trained on. Synthetic."""


@dataclass(frozen=True, slots=True)
class Students:
    """Model files of one student by kind: float32, int8, dynamic. windows: of unseen people, (n, window_samples)."""

    files: dict[str, Path]
    windows: NDArray[np.float32]

    def model_file(self, kind: str) -> ModelFile:
        """The model file of that kind, checked."""
        return load_model_file(self.files[kind])

    def inputs(self, kind: str) -> NDArray[np.float32] | NDArray[np.int8]:
        """The windows as that file takes them."""
        model_file = self.model_file(kind)
        return self.windows if model_file.manifest.quantization is None else encode(model_file, self.windows)


def encode(model_file: ModelFile, windows: NDArray[np.float32]) -> NDArray[np.int8]:
    """Windows as an int8 model takes them: rounded to steps of its input scale."""
    quantization = model_file.manifest.quantization
    assert quantization is not None
    steps = np.rint(windows / np.float32(quantization.input.scale)) + np.float32(quantization.input.zero_point)
    codes: NDArray[np.int8] = np.clip(steps, -128, 127).astype(np.int8)
    return codes


def command(name: str, *words: object) -> str:
    """The output of one of the project's commands on this machine; exit status 3 (not signed off) is accepted."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name(name)), *map(str, words)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode in (0, 3), done.stderr
    return done.stdout


def make_students(folder: Path) -> Students:
    """Train and export in `folder`, or take what is there already."""
    kinds = {"float32": [], "int8": ["--int8"], "dynamic": ["--recipe", "dynamic"]}
    files = {kind: folder / f"student-{kind}.tflite" for kind in kinds}
    if not folder.exists():
        run = folder.with_name(folder.name + "-run")
        made = folder.with_name(folder.name + "-part")
        short = ["--set", "teacher.epochs=1", "--set", "student.epochs=2", "--set", "data=synthetic?subjects=16"]
        command("ekd-train", "--preset", "smoke", "--threads", 1, *short, "--out", run)
        made.mkdir()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda kind: command("ekd-export", run, *kinds[kind], "-o", made / files[kind].name), kinds))
        made.rename(folder)
    manifest = load_model_file(files["int8"]).manifest
    windows = open_dataset(UNSEEN).windows(manifest.signal, None, [each.name for each in manifest.targets])
    return Students(files, windows.gsr)
