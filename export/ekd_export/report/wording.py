"""The sentences that the text output and the HTML page share; all read the JSON report."""

from collections.abc import Iterator, Mapping
from typing import Any

from ekd_edge.formatting import percent

__all__ = ["headline", "side_by_side", "speed_note", "training_note"]

_TIE = 1.02
"""Ratio of latencies up to which two models count as equally fast."""


def headline(verdict: Mapping[str, Any]) -> str:
    """The verdict in one sentence, which begins with its name in capitals."""
    if verdict["max_drop"] is None:
        return "not judged: set the change that is allowed, such as --max-drop 0.01 for one point"
    allowed = f"{100 * verdict['max_drop']:g} {'point' if verdict['max_drop'] == 0.01 else 'points'}"
    return {
        "passed": f"PASSED: the change is shown to be within {allowed}, either way",
        "failed": f"FAILED: a change beyond {allowed} is shown",
        "undecided": f"UNDECIDED: a change beyond {allowed} is neither shown nor excluded",
    }[verdict["result"]]


def side_by_side(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """File size and latency of this model and of the float one: name and text of each line."""
    kind, quantized = report["kind"], report["float_latency"] is not None
    size = f"{report['size_bytes'] / 1000:.1f} kB {kind}"
    if quantized:
        size += f", {report['float_size_bytes'] / 1000:.1f} kB float32"
    yield "size", size
    latency = report["latency"]
    text = f"{_latency(latency)} {kind}"
    if quantized:
        text += f"; {_latency(report['float_latency'])} float32"
    yield "latency", f"{text}; on {latency['machine']}, {latency['runs']} runs"


def speed_note(report: Mapping[str, Any]) -> str:
    """A sentence where the quantized model is slower than the float one on this machine; else empty."""
    if report["float_latency"] is None:
        return ""
    ours, floats = report["latency"]["p50_ms"], report["float_latency"]["p50_ms"]
    if ours <= _TIE * floats:
        return ""
    return (
        f"{report['kind']} is {ours / floats:.1f} times slower than float32 on this processor: measure on the device "
        "with `ekd-edge bench`"
    )


def training_note(report: Mapping[str, Any]) -> str:
    """Why the float accuracy here differs from the one that ekd-train reported; empty where it does not."""
    stated, targets = report["training_report"], report["verdict"]["targets"]
    if stated["accuracy"] is None:
        return ""
    here = sum(each["accuracy_before"] for each in targets) / len(targets)
    figures = (
        f"ekd-train reported {percent(stated['accuracy'])} for the same test subjects, and here it is {percent(here)}"
    )
    if stated["hop_s"] != stated["device_hop_s"]:
        return (
            f"{figures}: training takes a window every {stated['hop_s']:g} s, and this report takes one every "
            f"{stated['device_hop_s']:g} s, as the device does"
        )
    if abs(here - stated["accuracy"]) > 5e-4:
        return f"{figures}, on the same windows: the run's student was replaced, or the data changed"
    return ""


def _latency(latency: Mapping[str, Any]) -> str:
    p99 = "" if latency["p99_ms"] is None else f", p99 {latency['p99_ms']:.3f} ms"
    return f"p50 {latency['p50_ms']:.3f} ms{p99}"
