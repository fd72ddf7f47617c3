"""Which model `ekd-edge` runs when none is named."""

import os
from collections.abc import Mapping
from pathlib import Path

from ekd_edge.artefact import load_artefact
from ekd_edge.errors import ArtefactError, ConfigError

__all__ = ["default_model"]


def default_model(folder: Path = Path(), environment: Mapping[str, str] = os.environ) -> Path:
    """The file that EKD_MODEL names, else the newest export: `*.tflite` here or in one of `runs/*`.

    The newest file decides on the folder; of its models the newest int8 one is taken, else the newest. Files
    that are no valid artefact are passed over. Raises ConfigError where none is left.
    """
    named = environment.get("EKD_MODEL")
    if named:
        return Path(named)
    files = [*folder.glob("*.tflite"), *folder.glob("runs/*/*.tflite")]
    faults: list[str] = []
    valid: list[tuple[float, Path, str]] = []
    for path in files:
        try:
            valid.append((path.stat().st_mtime, path, load_artefact(path).manifest.kind))
        except ArtefactError as error:
            faults.append(str(error))
    if not valid:
        passed_over = f" (passed over: {'; '.join(faults)})" if faults else ""
        raise ConfigError("no model here: run `ekd-export --int8`, or name one with --model or EKD_MODEL" + passed_over)
    newest = max(valid)[1].parent
    siblings = [(kind == "int8", changed, path) for changed, path, kind in valid if path.parent == newest]
    return max(siblings)[2]
