"""The result of `ekd-export` as text and as JSON."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ekd_edge.formatting import change, origin, percent, points
from ekd_export.report.wording import headline, side_by_side, speed_note, training_note
from ekd_train.data.left_out import describe_quality

if TYPE_CHECKING:
    from ekd_export.evaluation.target_figures import TargetFigures
    from ekd_export.pipeline import ExportResult

__all__ = ["to_json", "to_text"]

_LAYERS_SHOWN = 5


def to_json(result: "ExportResult") -> dict[str, Any]:
    """The report and the paths of the written files."""
    paths = {"path": str(result.path), "page": str(result.page)}
    onnx = {} if result.onnx is None else {"onnx": str(result.onnx)}
    return {**paths, **onnx, **result.report, "sha256": result.model_file.manifest.sha256}


def to_text(result: "ExportResult") -> str:
    """A block of lines: figures, verdict, the paths of the written files, then the next command or what to try."""
    return "\n".join(_lines(result))


def _lines(result: "ExportResult") -> Iterator[str]:
    manifest, path, audit, report = result.model_file.manifest, result.path, result.audit, result.report
    source = origin(manifest.training.synthetic)
    arena = report["arena_bytes"]
    memory = "" if arena is None else f", arena {arena / 1024:.0f} KiB in TFLite Micro"
    yield (
        f"model      {manifest.student} student, recipe {manifest.recipe}, "
        f"{sum(audit.operations.values())} operations of {len(audit.operations)} kinds, "
        f"{audit.float_tensors} float tensors{memory}"
    )
    for name, figures in side_by_side(report):
        yield f"{name:<10} {figures}"
    if note := speed_note(report):
        yield f"note       {note}"
    yield f"windows    {describe_quality(report['signal_quality'])}{source}"
    choice = report["validation"]
    if choice is not None:
        yield f"validation {choice['why']}; chosen: {choice['chosen']}"
    for target, share in result.agreement.items():
        yield f"{target:<10} same class as the float student on {percent(share)} of validation windows{source}"
    for each in report["temperatures"]:
        yield f"{each['target']:<10} {_temperature(each)}{source}"
    for figures_of_target in result.verdict.targets:
        yield from _target_lines(figures_of_target, source, manifest.kind != "float32")
        names = zip(result.verdict.class_names, figures_of_target.classes.after, strict=True)
        for missing in (name for name, count in names if count == 0):
            yield f"warning    no test window is predicted {missing} {figures_of_target.target}: train longer{source}"
    if note := training_note(report):
        yield f"training   {note}{source}"
    if result.layer_errors is not None:
        yield "layers     that add most quantization error:"
        worst = sorted(result.layer_errors, key=lambda layer: -(layer.lost_db or 0.0))[:_LAYERS_SHOWN]
        for layer in worst:
            sqnr = "exact" if layer.sqnr_db is None else f"{layer.sqnr_db:.1f} dB"
            lost = 0.0 if layer.lost_db is None else layer.lost_db
            yield f"           {layer.operation:<24} {sqnr:>8}  -{lost:4.1f} dB  {layer.name}"
    if result.onnx is not None:
        yield f"ONNX       {result.onnx}"
    yield f"report     {result.page}"
    yield f"written    {path}"
    if manifest.recipe != "float32":
        yield f"verdict    {headline(report['verdict'])}{source}"
    for reason in result.verdict.reasons:
        yield f"           {reason}{source}"
    yield from _next_lines(result)


def _next_lines(result: "ExportResult") -> Iterator[str]:
    """The command that runs the file where it passed or needs no verdict, else what to try."""
    if result.verdict.passed or result.model_file.manifest.kind == "float32":
        yield f"next       ekd-edge --model {result.path} --port /dev/ttyUSB0"
    elif result.verdict.passed is None:
        yield "next       sign it off before it runs: export it again with --max-drop 0.01"
    else:
        for number, each in enumerate(result.report["advice"]):
            yield f"{'' if number else 'next':<10} try {each}"


def _temperature(each: Mapping[str, Any]) -> str:
    if each["why_not"] is not None:
        return f"temperature 1: {each['why_not']}"
    return (
        f"temperature {each['value']:.2f}: ECE {percent(each['ece_before'])} -> {percent(each['ece_after'])} on "
        f"validation windows, {percent(each['ece_test_before'])} -> {percent(each['ece_test_after'])} on test windows"
    )


def _target_lines(each: "TargetFigures", source: str, quantized: bool) -> Iterator[str]:
    yardstick = f"always the larger class: {percent(each.larger_class_accuracy)}"
    if not quantized:
        yield f"{each.target:<10} test subjects: accuracy {percent(each.accuracy_after)} ({yardstick}){source}"
        if each.macro_f1_after is not None:
            yield f"           macro-F1 {percent(each.macro_f1_after)}{source}"
        yield f"           ECE {percent(each.reliability_after.ece)}{source}"
        return
    yield (
        f"{each.target:<10} test subjects: accuracy {percent(each.accuracy_before)} -> {percent(each.accuracy_after)} "
        f"({yardstick}); {change(each.accuracy)}{source}"
    )
    if each.macro_f1 is not None and each.macro_f1_before is not None and each.macro_f1_after is not None:
        yield (
            f"           macro-F1 {percent(each.macro_f1_before)} -> {percent(each.macro_f1_after)}; "
            f"{change(each.macro_f1)}{source}"
        )
    worst, margin, found = each.worst, each.margin, each.disagreement
    sqnr = "exact" if margin.sqnr_db is None else f"{margin.sqnr_db:.1f} dB"
    yield (
        f"           same class on {percent(each.agreement)} of test windows; {each.flips.broken} broken, "
        f"{each.flips.repaired} repaired; ECE {percent(each.reliability_before.ece)} -> "
        f"{percent(each.reliability_after.ece)}{source}"
    )
    yield (
        f"           margin: SQNR {sqnr}, mean error {margin.mean_absolute:.3f} where the mean margin is "
        f"{margin.mean_absolute_margin:.3f}{source}"
    )
    yield (
        f"           worst test subject {worst.subject}: {points(worst.accuracy_change)} points, same class on "
        f"{percent(1 - worst.disagreement)}{source}"
    )
    yield (
        f"           all {found.subjects} subjects: same class on {percent(1 - found.mean)} on average, "
        f"{percent(1 - found.worst)} for the worst ({found.worst_subject}); at most {percent(found.beyond_worst)} of "
        f"people can be worse{source}"
    )
