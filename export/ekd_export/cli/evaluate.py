"""`ekd-eval`: how well do model files do on people they have never seen, and what does the second one lose?"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ekd_edge.errors import EkdError
from ekd_edge.formatting import change, origin, percent
from ekd_export.evaluation.held_out import Report, evaluate_files

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, evaluate, print; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        report = evaluate_files(args.models, args.data, args.threads)
    except EkdError as error:
        print(f"ekd-eval: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nekd-eval: stopped", file=sys.stderr)
        return 130
    print(json.dumps(report.to_json(), indent=1) if args.json else _to_text(report))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ekd-eval",
        description="Accuracy and macro-F1 of model files on subjects that none of them was trained on, and "
        "the change from the first file to each further one.",
    )
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL.tflite", help="what ekd-export wrote")
    parser.add_argument(
        "--data",
        help="synthetic, synthetic:hard, recordings:FOLDER, deap:FOLDER or hci:FOLDER (default: as in training)",
    )
    parser.add_argument("--threads", type=int, default=1, help="of the TFLite runtime (default: 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout, every subject in it")
    return parser


def _to_text(report: Report) -> str:
    excluded = f"; {len(report.excluded)} left out that a model was trained on" if report.excluded else ""
    lines = [
        f"{report.source}{origin(report.synthetic)}: {report.windows} windows of {len(report.subjects)} "
        f"unseen subjects{excluded}",
        "",
    ]
    width = max(len(str(model_file.path)) for model_file in report.model_files)
    for column, target in enumerate(report.model_files[0].manifest.targets):
        lines.append(f"{target.name}, mean over subjects{origin(report.synthetic)}")
        lines.append(f"  {'':{width}}  {'kind':<7}  {'accuracy':>8}  {'macro-F1':>8}  predicted")
        for model_file, scores in zip(report.model_files, report.scores, strict=True):
            score = scores.targets[column]
            predicted = ", ".join(
                f"{count} {label}" for count, label in zip(score.predicted, target.labels, strict=True)
            )
            lines.append(
                f"  {model_file.path!s:{width}}  {model_file.manifest.kind:<7}  {percent(score.accuracy):>8}  "
                f"{percent(score.macro_f1):>8}  {predicted}"
            )
        for model_file, comparison in zip(report.model_files[1:], report.comparisons, strict=True):
            each = comparison[column]
            lines += [
                f"  {model_file.path} against {report.model_files[0].path}{origin(report.synthetic)}:",
                f"    accuracy   {change(each.accuracy)}",
                f"    macro-F1   {change(each.macro_f1)}",
                f"    agreement  {percent(each.agreement)} of windows get the same class",
            ]
        lines.append("")
    if report.comparisons:
        lines.append("Intervals: paired Student t over subjects.")
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    sys.exit(main())
