"""Saving an export: the model file, its report and the ONNX file are written together or not at all."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekd_edge.atomic_files import cannot_write, pending_file, write_whole
from ekd_edge.errors import ConfigError
from ekd_edge.model.file import ModelFile, load_model_file, save_model_file
from ekd_edge.model.manifest import SignOff
from ekd_export.report.html import render_page

if TYPE_CHECKING:
    from ekd_export.candidate import Candidate

__all__ = ["check_output", "json_path", "onnx_path", "page_path", "write_export", "write_signer"]


def page_path(output: Path) -> Path:
    """The HTML report of the model file `output`."""
    return output.with_suffix(".html")


def json_path(output: Path) -> Path:
    """The JSON report of the model file `output`."""
    return output.with_suffix(".json")


def onnx_path(output: Path) -> Path:
    """The float student as ONNX, next to the model file `output`."""
    return output.with_suffix(".onnx")


def check_output(output: Path, onnx: bool = False) -> None:
    """Raise ConfigError where `output` or one of the files next to it cannot be written."""
    if not output.parent.is_dir():
        raise ConfigError(f"the folder {output.parent} does not exist: make it, or name another file with -o")
    others = [page_path(output), json_path(output), *([onnx_path(output)] if onnx else [])]
    if output in others:
        raise ConfigError(f"{output} is the name of another file of the export: name a file that ends in .tflite")
    for path in (output, *others):
        if path.is_dir():
            raise ConfigError(f"{path} is a folder, where a file would be written: name another one with -o")


def write_export(
    output: Path, candidate: "Candidate", report: Mapping[str, Any], onnx: bytes | None = None
) -> ModelFile:
    """Write the model file, the report as .html and .json, and the ONNX file.

    All files are written under temporary names and synced before the first rename, which is the model file's.

    Args:
        output: the model file; the others are next to it.
        candidate: the model to write.
        report: what `build_report` returned; without plotting data it also goes into the file's manifest.
        onnx: the ONNX file's bytes; None writes none.

    Returns:
        The model file, read back and verified.

    Raises:
        ModelFileError, ConfigError: something cannot be written; existing files are intact then, and no temporary
            file remains.
    """
    others = {
        **_reports(output, report),
        **({} if onnx is None else {onnx_path(output): onnx}),
    }
    manifest = replace(candidate.model_file.manifest, evaluation=_without_plots(report), signoff=_signoff(report))
    with contextlib.ExitStack() as stack:
        path = output
        try:
            commits = {}
            for path, data in others.items():
                commits[path] = stack.enter_context(pending_file(path, data))
            save_model_file(output, candidate.model_file.flatbuffer, manifest)
            for path, commit in commits.items():  # noqa: B007 (path is named in the error)
                commit()
        except OSError as error:
            raise ConfigError(cannot_write(path, error)) from error
    return load_model_file(output)


def write_signer(output: Path, report: Mapping[str, Any], signer: str) -> None:
    """Add the key that signed the model file `output` to its .html and .json; raises ConfigError as `write_whole`."""
    for path, data in _reports(output, {**report, "signer": signer}).items():
        write_whole(path, data)


def _reports(output: Path, report: Mapping[str, Any]) -> dict[Path, bytes]:
    return {
        page_path(output): render_page(report, output.name).encode(),
        json_path(output): (json.dumps(report, indent=1) + "\n").encode(),
    }


def _without_plots(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report without the data that only plots need, to keep the model file small."""
    verdict = dict(report["verdict"])
    verdict["targets"] = [{key: each[key] for key in each if key != "logits"} for each in verdict["targets"]]
    return {**report, "verdict": verdict}


def _signoff(report: Mapping[str, Any]) -> SignOff | None:
    verdict = report["verdict"]
    return None if verdict["max_drop"] is None else SignOff(verdict["max_drop"], verdict["result"])
