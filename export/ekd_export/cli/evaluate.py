"""`ekd-eval MODEL ...`: accuracy of model files on subjects that none of them was trained on. Runs without torch.

Exit status: 0 when all is done, 130 on Ctrl-C, 2 for a fault, with one sentence on stderr.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ekd_edge.formatting import change, origin, percent
from firmware_bridge.cli.arguments import path_argument, thread_count
from firmware_bridge.cli.program import Command, Program, run_program

if TYPE_CHECKING:
    from ekd_export.evaluation.held_out import EvaluationReport

__all__ = ["PROGRAM", "add_arguments", "main", "run"]

PROGRAM = Program(
    "ekd-eval",
    "Accuracy and macro-F1 of model files on subjects that none of them was trained on, and the change from the "
    "first file to each further one.",
    (Command("evaluate", "evaluate model files", "ekd_export.cli.evaluate", positional=True, hidden=True),),
    default="evaluate",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring for the exit status."""
    return run_program(PROGRAM, argv)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ekd-eval`."""
    parser.add_argument(
        "models", type=path_argument, nargs="+", metavar="MODEL.tflite", help="files that ekd-export wrote, or demo"
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="synthetic, synthetic:hard, recordings:FOLDER, deap:FOLDER or hci:FOLDER (default: the training data)",
    )
    parser.add_argument(
        "--threads", metavar="N", type=thread_count, default=1, help="threads of the TFLite runtime (default: 1)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout, with every subject")


def run(options: argparse.Namespace) -> None:
    """Evaluate the model files and print the report as text or JSON."""
    from ekd_export.evaluation.held_out import evaluate  # loads numpy, which --version and --help do not need

    report = evaluate(options.models, options.data, options.threads)
    print(json.dumps(report.to_json(), indent=1) if options.json else _to_text(report))


def _to_text(report: "EvaluationReport") -> str:
    from ekd_train.data.left_out import share_of

    excluded = f"; {len(report.excluded)} left out that a model was trained on" if report.excluded else ""
    lines = [
        f"{report.source}{origin(report.synthetic)}: {report.windows} windows of {len(report.subjects)} "
        f"unseen subjects{excluded}",
        f"left out for signal quality: {share_of(report.left_out, report.left_out + report.windows, ' windows')}"
        f"{origin(report.synthetic)}",
        *(f"note: {remark}" for remark in report.remarks),
        "",
    ]
    width = max(len("always the larger class"), *(len(str(each.path)) for each in report.model_files))
    for column, target in enumerate(report.model_files[0].manifest.targets):
        lines.append(f"{target.name}, mean over subjects{origin(report.synthetic)}")
        lines.append(f"  {'':{width}}  {'kind':<7}  {'accuracy':>8}  {'macro-F1':>8}  predicted")
        for model_file, scores in zip(report.model_files, report.scores, strict=True):
            score = scores.targets[column]
            predicted = ", ".join(
                f"{windows} {label}" for windows, label in zip(score.predicted, target.labels, strict=True)
            )
            lines.append(
                f"  {model_file.path!s:{width}}  {model_file.manifest.kind:<7}  {percent(score.accuracy):>8}  "
                f"{percent(score.macro_f1):>8}  {predicted}"
            )
        yardstick = percent(report.larger_class_accuracy[column])
        lines.append(f"  {'always the larger class':{width}}  {'':<7}  {yardstick:>8}")
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
