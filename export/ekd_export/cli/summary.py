"""The result of `ekd-export` as text and as JSON."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ekd_edge.formatting import interval, origin, percent, points
from ekd_train.data.left_out import describe_quality

if TYPE_CHECKING:
    from ekd_export.evaluation.intervals import Change
    from ekd_export.evaluation.signoff import TargetVerdict, Verdict
    from ekd_export.pipeline import ExportResult

__all__ = ["to_json", "to_text"]

_LAYERS_SHOWN = 5


def to_json(result: "ExportResult") -> dict[str, Any]:
    """The report and the paths of the written files."""
    paths = {"path": str(result.path), "page": str(result.page)}
    onnx = {} if result.onnx is None else {"onnx": str(result.onnx)}
    return {**paths, **onnx, **result.report, "sha256": result.model_file.manifest.sha256}


def to_text(result: "ExportResult") -> str:
    """A block of lines: figures, verdict, then the paths of the written files."""
    return "\n".join(_lines(result))


def _lines(result: "ExportResult") -> Iterator[str]:
    manifest, path, audit = result.model_file.manifest, result.path, result.audit
    source = origin(manifest.training.synthetic)
    arena = result.report["arena_bytes"]
    memory = "" if arena is None else f", arena {arena / 1024:.0f} KiB in TFLite Micro"
    yield (
        f"model      {manifest.student} student, recipe {manifest.recipe}, {manifest.size_bytes / 1000:.0f} kB, "
        f"{sum(audit.operations.values())} operations of {len(audit.operations)} kinds, "
        f"{audit.float_tensors} float tensors{memory}"
    )
    latency = result.latency
    p99 = "" if latency.p99_ms is None else f", p99 {latency.p99_ms:.3f} ms"
    yield f"latency    p50 {latency.p50_ms:.3f} ms{p99} on {latency.machine}, {latency.runs} runs"
    yield f"windows    {describe_quality(result.report['signal_quality'])}{source}"
    choice = result.report["validation"]
    if choice is not None:
        yield f"validation {choice['why']}; chosen: {choice['chosen']}"
    for target, share in result.agreement.items():
        yield f"{target:<10} same class as the float student on {percent(share)} of validation windows{source}"
    for each in result.verdict.targets:
        yield from _target_lines(each, source)
        names = zip(result.verdict.class_names, each.classes.after, strict=True)
        for missing in (name for name, count in names if count == 0):
            yield f"warning    no test window is predicted {missing} {each.target}: train longer{source}"
    if manifest.recipe != "float32":
        yield f"verdict    {_verdict(result.verdict)}{source}"
    for reason in result.verdict.reasons:
        yield f"           {reason}"
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
    yield f"next       ekd-edge --model {path} --port /dev/ttyUSB0"


def _target_lines(each: "TargetVerdict", source: str) -> Iterator[str]:
    yield (
        f"{each.target:<10} test subjects: accuracy {percent(each.accuracy_before)} -> {percent(each.accuracy_after)}; "
        f"{_change(each.accuracy)}{source}"
    )
    if each.macro_f1 is not None and each.macro_f1_before is not None and each.macro_f1_after is not None:
        yield (
            f"           macro-F1 {percent(each.macro_f1_before)} -> {percent(each.macro_f1_after)}; "
            f"{_change(each.macro_f1)}{source}"
        )
    worst, sqnr = each.worst, "exact" if each.output_sqnr_db is None else f"{each.output_sqnr_db:.1f} dB"
    yield (
        f"           same class on {percent(each.agreement)} of test windows; {each.flips.broken} broken, "
        f"{each.flips.repaired} repaired; ECE {percent(each.reliability_before.ece)} -> "
        f"{percent(each.reliability_after.ece)}; worst subject {points(worst.accuracy_change)} points; "
        f"output SQNR {sqnr}{source}"
    )


def _change(change: "Change") -> str:
    if change.student_t is None or change.bootstrap is None:
        return f"{points(change.mean)} points (one subject: no interval)"
    t, bootstrap = change.student_t, change.bootstrap
    return (
        f"{points(change.mean)} points (95% {interval(t.low, t.high)} by Student's t, "
        f"{interval(bootstrap.low, bootstrap.high)} by bootstrap, {change.subjects} subjects)"
    )


def _verdict(verdict: "Verdict") -> str:
    if verdict.max_drop is None:
        return "not judged: set the loss that is allowed, such as --max-drop 0.01 for one point"
    allowed = f"{100 * verdict.max_drop:g} point{'' if verdict.max_drop == 0.01 else 's'}"
    if verdict.passed:
        return f"PASSED: the loss is shown to be within {allowed}"
    return f"NOT SHOWN: the loss cannot be shown to be within {allowed}"
