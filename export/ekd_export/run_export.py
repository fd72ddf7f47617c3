"""`ekd_export.export`: check the request and the installed packages, then export. Importable without torch."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ekd_edge.errors import ConfigError
from ekd_edge.native_output import quiet
from ekd_export.evaluation.signoff import check_max_drop
from ekd_export.quantization.recipes import Recipe, find_recipe
from firmware_bridge.dependencies import require_packages
from firmware_bridge.suggestions import closest

if TYPE_CHECKING:
    from ekd_export.pipeline import ExportResult
    from ekd_train.run import Run

__all__ = ["export", "open_run"]

_RUNS = "runs"
_PACKAGES = (
    "litert_torch",
    "ai_edge_quantizer",
    "torchao",
    "ai_edge_litert",
    "torch",
    "scipy",
    "safetensors",
    "matplotlib",
)
"""Import names of the packages of the extra `export`."""

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""Import names of the packages of the extra `onnx`."""


def export(
    run: "Run | Path | str",
    recipe: str | Recipe = "static",
    *,
    max_drop: float | None = None,
    output: Path | str | None = None,
    onnx: bool = False,
    notify: Callable[[str], None] | None = None,
) -> "ExportResult":
    """Write the student of a run as one model file, with its report as .html and .json next to it.

    Args:
        run: the run, or its folder.
        recipe: how to quantize, by name: see `ekd_export.RECIPES`; "static" is int8, "float32" does not quantize.
        max_drop: the drop of accuracy and macro-F1 that quantization is allowed, as a fraction. The file is written
            whether the loss is shown to be within it or not. Where validation subjects cannot show it for the recipe
            "static", "qat" is tried as well. None gives figures without a verdict.
        output: the file to write; None writes RUN/student-int8.tflite, or RUN/student-RECIPE.tflite.
        onnx: also write the float student as ONNX, next to the file.
        notify: called with a sentence for each step and for each remark on the data; None is silent.

    Returns:
        The file that was written, the verdict and all figures.

    Raises:
        ConfigError: the run does not exist or has no student, a package is not installed, an option does not fit, or
            something cannot be written.
        DataError: the run's data changed, or is not sufficient for calibration or for the verdict.
        ExportError: conversion fails, or its result fails a check. Nothing is written in any of these cases.
    """
    chosen = find_recipe(recipe) if isinstance(recipe, str) else recipe
    if max_drop is not None:
        check_max_drop(max_drop)
        if chosen.kind == "float32":
            raise ConfigError("an allowed drop is a limit on what quantization costs: export with --int8")
    require_packages("ekd-export", *_PACKAGES)
    if onnx:
        require_packages("--onnx", *ONNX_PACKAGES)
    opened = open_run(run) if isinstance(run, str | Path) else run
    with quiet():
        from ekd_export.pipeline import default_output, export_run
    path = default_output(opened, chosen) if output is None else Path(output)
    return export_run(opened, chosen, path, notify or _ignore, max_drop, onnx)


def open_run(path: Path | str | None = None) -> "Run":
    """Open a run folder; None is the newest one in runs/.

    Raises ConfigError where there is none, with the nearest name in runs/, and where a package of the extra `export`
    is not installed.
    """
    require_packages("ekd-export", *_PACKAGES)
    with quiet():
        from ekd_train.run import Run, newest_run
    if path is None:
        return Run.load(newest_run())
    folder = Path(path)
    if not (folder / "run.json").is_file():
        known = {each.parent.name: each.parent for each in Path(_RUNS).glob("*/run.json")}
        near = closest(folder.name, known)
        hint = "" if near is None else f"; did you mean {known[near]}?"
        raise ConfigError(f"{folder} is not a run folder (it has no run.json): make one with ekd-train{hint}")
    return Run.load(folder)


def _ignore(message: str) -> None:
    """The `notify` of a silent export."""
