"""`ekd-edge bench`: measures how fast models are on this machine, and picks one.

Exit status: 0; 3 where --pick finds no model that is allowed; 130 on Ctrl-C; 2 for a fault.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ekd_edge.cli.arguments import add_trust_argument, trust_of
from ekd_edge.diagnostics.bench import INCLUDES, Bench, bench
from ekd_edge.diagnostics.machine import Condition, emulator
from ekd_edge.diagnostics.pick import Choice, check_real, pick
from ekd_edge.errors import ConfigError, ModelFileError
from ekd_edge.model.file import ModelFile, load_model_file
from ekd_edge.model.find import default_model, describe_signoff, find_model
from ekd_edge.model.signature import Trust
from firmware_bridge.cli.arguments import count, path_argument, share
from firmware_bridge.printable import printable

__all__ = ["add_arguments", "run", "to_json", "to_text"]

_MAX_THREADS = 4
_MAX_WINDOWS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ekd-edge bench`."""
    parser.description = "Measure latency and CPU time of models on this machine, on windows of a simulated sensor."
    parser.epilog = "Exit status: 0, 2 for a fault, 3 where --pick finds no model that is allowed."
    parser.add_argument(
        "models",
        metavar="MODEL.tflite",
        nargs="*",
        type=path_argument,
        help="default: all in the folder of $EKD_MODEL or the newest export here",
    )
    parser.add_argument(
        "--threads",
        metavar="N,N",
        type=_threads,
        default=_default_threads(),
        help="numbers of threads, 1 to 4 (default: 1,2,4 as far as there are cores)",
    )
    parser.add_argument(
        "--windows", metavar="N", type=_windows, default=200, help="timed for each row of the table (default: 200)"
    )
    parser.add_argument("--pick", action="store_true", help="name the fastest model whose loss of accuracy is allowed")
    parser.add_argument(
        "--max-drop",
        metavar="SHARE",
        type=_max_drop,
        help="the allowed loss, such as 0.01 for one point (default: the one that each model was signed off for)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, to attach to a report")
    add_trust_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Measure and print; see the module's docstring for the exit status."""
    if options.max_drop is not None and not options.pick:
        raise ConfigError("--max-drop limits what --pick may choose: add --pick")
    trust = trust_of(options)
    if options.pick:
        check_real(emulator())
    model_files = _model_files(options.models, trust)
    progress = _ProgressLine()
    try:
        measured = bench(model_files, options.threads, options.windows, progress.show)
    finally:
        progress.end()
    choice = pick(measured.timings, options.max_drop) if options.pick else None
    print(json.dumps(to_json(measured, choice), indent=1) if options.json else to_text(measured, choice))
    if choice is not None and choice.picked is None:
        print(f"ekd-edge bench: {_none_allowed(options.max_drop)}", file=sys.stderr)
        return 3
    return 0


def _model_files(named: Sequence[Path], trust: Trust | None) -> list[ModelFile]:
    """The named models, else all valid ones in the folder of the default model."""
    if named:
        return [load_model_file(find_model(path), trust) for path in dict.fromkeys(named)]
    default = default_model(trust=trust)
    model_files = [load_model_file(default, trust)]
    for path in sorted(default.parent.glob("*.tflite")):
        if path == default:
            continue
        try:
            model_files.append(load_model_file(path, trust))
        except ModelFileError as error:
            print(f"ekd-edge bench: skipped: {printable(str(error))}", file=sys.stderr)
    return model_files


def to_json(measured: Bench, choice: Choice | None = None) -> dict[str, Any]:
    """The measurement, and the choice where there is one, JSON-ready."""
    if choice is None:
        return measured.to_json()
    picked = choice.picked
    named = None if picked is None else {"file": str(picked.model_file.path), "threads": picked.threads}
    return {**measured.to_json(), "picked": named, "reasons": dict(choice.reasons)}


def to_text(measured: Bench, choice: Choice | None = None) -> str:
    """The machine, the table of timings, the machine's condition, and the choice where there is one."""
    return "\n".join(printable(line) for line in _lines(measured, choice))


def _lines(measured: Bench, choice: Choice | None) -> Iterator[str]:
    if measured.meaningless is not None:
        yield f"These figures are meaningless: {measured.meaningless}"
    yield from measured.machine.lines
    yield ""
    width = max(5, *(len(str(timing.model_file.path)) for timing in measured.timings))
    yield (
        f"{'model':{width}}  {'kind':<7}  {'threads':>7}  {'p50 ms':>8}  {'p99 ms':>8}  {'paced ms':>8}  "
        f"{'CPU s/h':>7}  {'size kB':>7}"
    )
    for each in measured.timings:
        manifest = each.model_file.manifest
        p99 = "-" if each.p99_ms is None else f"{each.p99_ms:.3f}"
        yield (
            f"{each.model_file.path!s:{width}}  {manifest.kind:<7}  {each.threads:>7}  {each.p50_ms:>8.3f}  {p99:>8}  "
            f"{each.paced_ms:>8.3f}  {each.cpu_s:>7.2f}  {manifest.size_bytes / 1000:>7.0f}"
        )
    yield ""
    windows = measured.timings[0].windows
    yield f"p50, p99     {windows} consecutive windows of a simulated sensor [synthetic data]"
    yield "paced        the median with a pause before each window, as in ekd-edge"
    yield f"CPU s/h      {INCLUDES}"
    yield from _signoff_lines(measured)
    yield from _condition_lines(measured)
    if choice is not None:
        yield ""
        yield from _choice_lines(choice)


def _signoff_lines(measured: Bench) -> Iterator[str]:
    for path, manifest in {each.model_file.path: each.model_file.manifest for each in measured.timings}.items():
        if state := describe_signoff(manifest):
            yield f"sign-off     {path}: {state}"


def _condition_lines(measured: Bench) -> Iterator[str]:
    before, after = measured.before, measured.after
    hottest = "" if measured.hottest_c is None else f", highest {measured.hottest_c:.1f}"
    yield f"temperature  {_degrees(before)} before, {_degrees(after)} after{hottest}"
    yield f"governor     {after.governor or 'not known'}"
    if after.throttling is None:
        yield "throttling   not known: vcgencmd does not work here"
    else:
        now, since_boot = (", ".join(each) or "none" for each in (after.throttling.now, after.throttling.since_boot))
        yield f"throttling   now: {now}; since boot: {since_boot}"
    if measured.slowed_by:
        causes = ", ".join(measured.slowed_by)
        yield (
            f"warning      the machine was slowed down during the measurement ({causes}): cool it or use a stronger "
            "power supply, then measure again"
        )


def _degrees(condition: Condition) -> str:
    return "not known" if condition.temperature_c is None else f"{condition.temperature_c:.1f} °C"


def _choice_lines(choice: Choice) -> Iterator[str]:
    picked = choice.picked
    if picked is not None:
        path, threads = picked.model_file.path, f"{picked.threads} thread{'s' if picked.threads > 1 else ''}"
        yield f"picked       {path} with {threads}, p50 {picked.p50_ms:.3f} ms"
    for name, reason in choice.reasons.items():
        yield f"not          {name}: {reason}"
    if picked is not None:
        yield f"next         ekd-edge --model {path} --threads {picked.threads} --port auto"


def _none_allowed(max_drop: float | None) -> str:
    condition = "passed its sign-off" if max_drop is None else f"is shown to change by at most {max_drop:g}"
    return (
        f"none of these models {condition}: run `ekd-export --int8 --max-drop {max_drop or 0.01:g}`, follow its "
        "advice, or name a float32 model as well"
    )


class _ProgressLine:
    """The progress in percent, redrawn in place on a terminal."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()

    def show(self, share: float) -> None:
        if self._on_terminal:
            print(f"\rmeasuring {share:4.0%}\x1b[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._on_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _default_threads() -> tuple[int, ...]:
    return tuple(number for number in (1, 2, 4) if number <= (os.cpu_count() or 1))


def _threads(text: str) -> tuple[int, ...]:
    numbers = {int(one) if one.isascii() and one.isdecimal() else 0 for one in text.split(",")}
    if not all(1 <= number <= _MAX_THREADS for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} must be numbers from 1 to {_MAX_THREADS}, such as 1,2,4")
    return tuple(sorted(numbers))


def _windows(text: str) -> int:
    number = count(text)
    if number > _MAX_WINDOWS:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1 to {_MAX_WINDOWS}")
    return number


def _max_drop(text: str) -> float:
    number = share(text)
    if number == 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be a share above 0 and below 1, such as 0.01 for one point")
    return number
