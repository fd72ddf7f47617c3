"""`ekd-export`: a trained student becomes one model file."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekd_edge.errors import EkdError, ExportError
from ekd_edge.wording import change, origin, percent
from ekd_export.sign import add_arguments, is_model_file, make_key, new_key_text, read_private_key, sign_file
from ekd_train.threads import let_idle_threads_sleep

if TYPE_CHECKING:
    from ekd_export.export import Exported

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, export, print; returns the exit status."""
    args = _parser().parse_args(argv)
    let_idle_threads_sleep()
    try:
        if args.new_key is not None:
            print(new_key_text(args.new_key, make_key(args.new_key)))
            return 0
        key = read_private_key(args.sign) if args.sign is not None else None
        if key is not None and is_model_file(args.run):
            print(f"signed     {args.run} by {sign_file(args.run, key)}")
            return 0
        exported = _export(args)
        if key is not None:
            _report(f"signed by {sign_file(exported.artefact.path, key)}")
    except EkdError as error:
        print(f"ekd-export: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nekd-export: stopped, nothing was written", file=sys.stderr)
        return 130
    if args.json:
        print(json.dumps(_to_json(exported)))
    else:
        print(_to_text(exported))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ekd-export",
        description="Write a run's student as one self-describing .tflite file for ekd-edge.",
    )
    parser.add_argument("run", type=Path, nargs="?", help="the run folder (default: the newest run in runs/)")
    parser.add_argument("--int8", action="store_true", help="quantize: integers alone, input and output included")
    parser.add_argument(
        "-o", "--output", type=Path, help="the file to write (default: RUN/student-int8.tflite or -float32.tflite)"
    )
    add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on stdout")
    return parser


def _export(args: argparse.Namespace) -> "Exported":
    from ekd_edge.manifest import Kind
    from ekd_export.quiet import quiet

    try:
        with quiet():
            from ekd_export.export import default_output, export_run
            from ekd_train.run import Run, newest_run
    except ImportError as error:
        raise ExportError(f"{error.name} is missing: run `pip install 'ekd[export]'`") from error

    run = Run.load(args.run if args.run is not None else newest_run())
    kind: Kind = "int8" if args.int8 else "float32"
    _report(f"exporting the student of {run.path} ...")
    return export_run(run, kind, args.output or default_output(run, kind), _report)


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _to_json(exported: "Exported") -> dict[str, Any]:
    manifest = exported.artefact.manifest
    return {
        "path": str(exported.artefact.path),
        "kind": manifest.kind,
        "sha256": manifest.sha256,
        "size_bytes": manifest.size_bytes,
        "audit": asdict(exported.audit),
        "synthetic": manifest.training.synthetic,
        "agreement": exported.agreement,
        "before": exported.before.to_json(),
        "after": exported.after.to_json(),
        "change": {loss.target: asdict(loss) for loss in exported.losses},
    }


def _to_text(exported: "Exported") -> str:
    manifest, path, found = exported.artefact.manifest, exported.artefact.path, exported.audit
    source = origin(manifest.training.synthetic)
    operations = sum(found.operations.values())
    lines = [
        f"model      {manifest.kind}, {manifest.size_bytes / 1000:.0f} kB, {operations} operations of "
        f"{len(found.operations)} kinds, {found.float_tensors} float tensors"
    ]
    for target, share in exported.agreement.items():
        lines.append(f"{target:<10} same class as the float student on {percent(share)} of validation windows{source}")
    for before, after, loss in zip(exported.before.targets, exported.after.targets, exported.losses, strict=True):
        lines.append(
            f"{loss.target:<10} test subjects: accuracy {percent(before.accuracy)} -> {percent(after.accuracy)}, "
            f"macro-F1 {percent(before.macro_f1)} -> {percent(after.macro_f1)}; "
            f"accuracy change {change(loss.accuracy)}{source}"
        )
    for scores, about in zip(exported.after.targets, manifest.targets, strict=True):
        never = [label for label, count in zip(about.labels, scores.predicted, strict=True) if count == 0]
        if never:
            lines.append(f"warning    no test window is predicted {never[0]} {about.name}: train longer{source}")
    lines += [f"written    {path}", f"next       ekd-edge --model {path} --port /dev/ttyUSB0"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
