"""Finding a model: the shipped demo model by its name, a named file, or the newest export."""

import os
from collections.abc import Mapping
from pathlib import Path

from ekd_edge.errors import ConfigError, ModelFileError
from ekd_edge.model.file import load_model_file
from ekd_edge.model.manifest import Manifest
from ekd_edge.model.signature import Trust
from firmware_bridge.home import expanded
from firmware_bridge.suggestions import closest

__all__ = ["DEMO", "DEMO_FILE", "SIGNOFF_REMEDY", "default_model", "describe_signoff", "find_model"]

DEMO = "demo"
"""The name of the shipped demo model, which was trained on synthetic data."""

DEMO_FILE = Path(__file__).parent / "demo" / "student-int8.tflite"


SIGNOFF_REMEDY = (
    "export it again with more test subjects or another --recipe, or export the float32 student (its .html report says "
    "which)"
)
"""What to do about a model whose sign-off is FAILED or UNDECIDED."""


def find_model(name: Path | str) -> Path:
    """The file of a model that is named by its path, or "demo" for the shipped one.

    A file of that name comes before the demo model. Raises ModelFileError if there is no such file, with the nearest
    name.
    """
    path = Path(name)
    if path.exists():
        return path
    if str(name) == DEMO:
        return DEMO_FILE
    known = {each.name: each for each in (*path.parent.glob("*.tflite"), *Path().glob("runs/*/*.tflite"))}
    near = closest(path.name, [*known, DEMO])
    hint = "" if near is None else f"; did you mean {known.get(near, DEMO)}?"
    raise ModelFileError(
        f"there is no model file {path}: make one with `ekd-export --int8`, or try --model {DEMO}{hint}"
    )


def default_model(
    folder: Path = Path(), environment: Mapping[str, str] = os.environ, trust: Trust | None = None
) -> Path:
    """The model that EKD_MODEL names, else the newest export: `*.tflite` here or in one of `runs/*`.

    The newest file determines the folder; the result is the newest int8 model in it, else the newest model. Files are
    skipped if they are not valid model files, are not trusted, or did not pass their sign-off. Raises ConfigError if no
    file remains.
    """
    named = environment.get("EKD_MODEL")
    if named:
        return find_model(expanded(named))
    files = [*folder.glob("*.tflite"), *folder.glob("runs/*/*.tflite")]
    faults: list[str] = []
    valid: list[tuple[float, Path, str]] = []
    for path in files:
        try:
            manifest = load_model_file(path, trust).manifest
            if manifest.signoff is not None and not manifest.signoff.passed:
                faults.append(f"{path}: {describe_signoff(manifest)}; {SIGNOFF_REMEDY}")
            else:
                valid.append((path.stat().st_mtime, path, manifest.kind))
        except (ModelFileError, OSError) as error:
            faults.append(str(error))
    if not valid:
        skipped = f" (skipped: {'; '.join(faults)})" if faults else ""
        raise ConfigError(
            f"no model here: try --model {DEMO}, run `ekd-export --int8`, or name one with --model or EKD_MODEL"
            f"{skipped}"
        )
    newest = max(valid)[1].parent
    siblings = [(kind == "int8", changed, path) for changed, path, kind in valid if path.parent == newest]
    return max(siblings)[2]


def describe_signoff(manifest: Manifest) -> str:
    """The state of a model's sign-off in a few words; empty if it passed or needs none."""
    signoff = manifest.signoff
    if signoff is None:
        return "" if manifest.kind == "float32" else "never signed off"
    if signoff.passed:
        return ""
    return f"sign-off {signoff.result.upper()} for --max-drop {signoff.max_drop:g}"
