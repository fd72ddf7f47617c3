"""Rebuild the demo model that ships with ekd: `make demo-model`, or `python -m ekd_export.demo.model [FOLDER]`.

It trains the preset "demo" on synthetic data with the preset's seed, exports it to int8 and replaces
`ekd_edge/model/demo/student-int8.tflite`. FOLDER (default: build/demo-model) keeps the run. Weights are the same on
machines of the same kind; the measured latency in the manifest differs.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import ekd_export
from ekd_edge.errors import EkdError, ExportError
from ekd_edge.model.find import DEMO_FILE
from ekd_export.demo.commands import run_command

__all__ = ["LARGEST_BYTES", "PRESET", "build_demo_model", "main"]

PRESET = "demo"
LARGEST_BYTES = 80_000
_MAX_DROP = 0.02
"""48 subjects can show a change of two points at most, not of one."""


def main(argv: Sequence[str] | None = None) -> int:
    """Rebuild the model; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        build_demo_model(Path(arguments[0] if arguments else "build/demo-model"), DEMO_FILE)
    except EkdError as error:
        print(f"demo-model: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(DEMO_FILE)
    return 0


def build_demo_model(folder: Path, output: Path, settings: Sequence[str] = ()) -> None:
    """Train and export the demo model.

    Args:
        folder: for the run; an existing one is replaced.
        output: the model file to write.
        settings: changes of the preset, each KEY=VALUE.

    Raises:
        ExportError: training fails, the data is not synthetic, the file is too large, or the sign-off for two points
            does not pass.
        EkdError: the export fails.
    """
    shutil.rmtree(folder, ignore_errors=True)
    changes = [word for setting in settings for word in ("--set", setting)]
    if run_command("ekd-train", "--preset", PRESET, "--threads", 1, *changes, "--out", folder) != 0:
        raise ExportError("training of the demo model failed: see the message of ekd-train above")
    result = ekd_export.export(
        folder, "static", max_drop=_MAX_DROP, notify=lambda message: print(message, file=sys.stderr, flush=True)
    )
    size = result.path.stat().st_size
    if not result.model_file.manifest.training.synthetic:
        raise ExportError(f"{result.path} was not trained on synthetic data: the preset {PRESET} must name such data")
    if size > LARGEST_BYTES:
        raise ExportError(f"{result.path} has {size} bytes, and the limit is {LARGEST_BYTES}: use a smaller student")
    if not result.verdict.passed and not settings:
        raise ExportError(
            f"the sign-off of {result.path} is {result.verdict.result.upper()} for {_MAX_DROP:g}: train longer, or "
            "with more subjects"
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(result.path, output)


if __name__ == "__main__":
    sys.exit(main())
