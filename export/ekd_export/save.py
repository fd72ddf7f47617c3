"""The model file and what lies beside it, all of it or nothing."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ekd_edge.atomic_files import cannot_write, pending_file
from ekd_edge.errors import ConfigError
from ekd_edge.model.file import ModelFile, load_model_file, save_model_file
from ekd_edge.model.manifest import SignOff
from ekd_export.candidate import Candidate
from ekd_export.report.page import render_page

__all__ = ["check_output", "json_path", "onnx_path", "page_path", "write_export"]


def page_path(output: Path) -> Path:
    """The report for people, beside the model file."""
    return output.with_suffix(".html")


def json_path(output: Path) -> Path:
    """The report for programs, beside the model file."""
    return output.with_suffix(".json")


def onnx_path(output: Path) -> Path:
    """The float student as ONNX, beside the model file."""
    return output.with_suffix(".onnx")


def check_output(output: Path, onnx: bool = False) -> None:
    """Raise ConfigError where `output` and what belongs beside it cannot be written."""
    if not output.parent.is_dir():
        raise ConfigError(f"the folder {output.parent} does not exist: make it, or name another file with -o")
    beside = [page_path(output), json_path(output), *([onnx_path(output)] if onnx else [])]
    if output in beside:
        raise ConfigError(f"{output} would be overwritten by what lies beside it: name a file that ends in .tflite")
    for path in (output, *beside):
        if path.is_dir():
            raise ConfigError(f"{path} is a folder, and a file belongs there: name another one with -o")


def write_export(output: Path, candidate: Candidate, report: Mapping[str, Any], onnx: bytes | None = None) -> ModelFile:
    """Write the model file with the report in its manifest; beside it the report as .html and .json, and the ONNX.

    Everything is written aside and synced before the first rename, the model file's. Raises ModelFileError or
    ConfigError where something cannot be written; what was there before is intact then, and nothing is left behind.
    """
    beside = {
        page_path(output): render_page(report).encode(),
        json_path(output): (json.dumps(report, indent=1) + "\n").encode(),
        **({} if onnx is None else {onnx_path(output): onnx}),
    }
    manifest = replace(candidate.model_file.manifest, evaluation=_compact(report), signoff=_signoff(report))
    with contextlib.ExitStack() as stack:
        path = output
        try:
            commits = {}
            for path, data in beside.items():
                commits[path] = stack.enter_context(pending_file(path, data))
            save_model_file(output, candidate.model_file.flatbuffer, manifest)
            for path, commit in commits.items():  # noqa: B007 (path is named in the error)
                commit()
        except OSError as error:
            raise ConfigError(cannot_write(path, error)) from error
    return load_model_file(output)


def _compact(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report without what only plots need: the file travels to the device."""
    verdict = dict(report["verdict"])
    verdict["targets"] = [{key: each[key] for key in each if key != "logits"} for each in verdict["targets"]]
    return {**report, "verdict": verdict}


def _signoff(report: Mapping[str, Any]) -> SignOff | None:
    verdict = report["verdict"]
    return None if verdict["passed"] is None else SignOff(verdict["max_drop"], verdict["passed"])
