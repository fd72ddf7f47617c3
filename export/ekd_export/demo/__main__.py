"""`make demo`: the pipeline from training to live prediction; every step is a command that a user can type.

    python -m ekd_export.demo build/demo

The recordings and the sensor's signal are synthetic, and so every figure is, too.
"""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ekd_export.demo.commands import full_command, run_command

__all__ = ["main"]

PRESET = "smoke"
SPEED = 60
MAX_DROP = 0.02
"""The least round allowance that the test subjects of 32 can show."""
THREADS = 1  # a second thread does not speed up networks of this size, and slows them down on a busy core


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo into the folder given (default: build/demo); returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    folder = Path(arguments[0] if arguments else "build/demo")
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["PYTHONUNBUFFERED"] = "1"
    os.environ.setdefault("EKD_CACHE", str((folder / "cache").resolve()))
    try:
        result = _demo(folder)
    except subprocess.CalledProcessError as error:
        print(f"demo: the step above failed with exit status {error.returncode}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    print(f"\nDone in {minutes} min {seconds} s. In {folder}/ (all of it from synthetic data):")
    for name, meaning in (
        ("student-float32.tflite", "the distilled student"),
        ("student-int8.tflite", "the quantized student"),
        ("student-int8.html", "the sign-off: what int8 changes, with plots"),
        ("eval.json", "accuracy of both on held-out subjects, the difference and its interval"),
        ("predictions.jsonl", "predictions of ekd-edge, one line a window"),
        ("signal.png", "skin conductance and predictions over time"),
    ):
        print(f"  {name:<24} {meaning}")
    print(f"\nNext, with a sensor plugged in (int8 is {result.upper()} for {100 * MAX_DROP:g} points):")
    name = "student-int8.tflite" if result == "passed" else "student-float32.tflite"
    print(f"  ekd-edge --port /dev/ttyUSB0 --model {folder / name}")
    print("or with your own recordings:")
    print("  ekd-train --preset edge --data recordings:FOLDER && ekd-export --int8 --max-drop 0.02")
    return 0


def _demo(folder: Path) -> str:
    """Run all steps; returns the result of the sign-off."""
    run = folder / "run"
    float32, int8 = folder / "student-float32.tflite", folder / "student-int8.tflite"
    recording, predictions = folder / "recording.csv", folder / "predictions.jsonl"

    _title("1/6  Train a teacher on EEG + GSR, distill a GSR-only student with adaptive feedback")
    _call("ekd-train", "--preset", PRESET, "--threads", THREADS, "--out", run)
    _title("2/6  Convert the student to TFLite")
    _call("ekd-export", run, "-o", float32)
    _title("3/6  Quantize it to int8, calibrated on training subjects, and sign off the change")
    _call("ekd-export", run, "--int8", "--max-drop", MAX_DROP, "-o", int8, accepted=(0, 3))
    _title("4/6  Evaluate both models on held-out subjects")
    _call("ekd-eval", float32, int8)
    _call("ekd-eval", float32, int8, "--json", stdout=folder / "eval.json")
    _title("5/6  Run ekd-edge on an emulated sensor at a serial device node")
    data = json.loads((run / "run.json").read_text(encoding="utf-8"))
    subject = data["split"]["test"][0]
    _call("ekd-train", "data", "--data", data["source"], "--subject", subject, "--out", recording)
    _live(folder, recording, int8, predictions)
    _title("6/6  Plot signal and predictions")
    _call(
        sys.executable, "-m", "ekd_export.report.plot_recording", "--signal", recording, "--predictions", predictions,
        "--synthetic", "-o", folder / "signal.png",
    )  # fmt: skip
    report = json.loads(int8.with_suffix(".json").read_text(encoding="utf-8"))
    return str(report["verdict"]["result"])


def _live(folder: Path, recording: Path, model: Path, predictions: Path) -> None:
    """Emulate a sensor on a pseudo-terminal at SPEED x real time, and read it with ekd-edge."""
    link = folder / "ttyGSR0"
    simulate = ("ekd-firmware", "simulate", "--waveform", recording, "--link", link, "--speed", SPEED)
    edge = ("ekd-edge", "--port", link, "--once", "--model", model, "--json")
    _show(*simulate, suffix=" &")
    with subprocess.Popen(full_command(simulate), stdout=subprocess.PIPE, text=True) as sensor:
        try:
            assert sensor.stdout is not None
            sensor.stdout.readline()
            node = link.resolve()
            _show(*edge, suffix=f" > {predictions}")
            with predictions.open("w", encoding="utf-8") as output:
                subprocess.run(full_command(edge), stdout=output, check=False)
        finally:
            sensor.terminate()
    with predictions.open(encoding="utf-8") as lines:
        count = sum(1 for _ in lines)
    if not count:
        raise subprocess.CalledProcessError(2, "ekd-edge")
    print(f"The recording ended and the emulated sensor was unplugged: {count} predictions from {node}")


def _title(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def _show(*command: object, suffix: str = "") -> None:
    words = ["python" if word == sys.executable else str(word) for word in command]
    print(f"$ {shlex.join(words)}{suffix}", flush=True)


def _call(*command: object, stdout: Path | None = None, accepted: Sequence[int] = (0,)) -> None:
    _show(*command, suffix=f" > {stdout}" if stdout else "")
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(stdout.open("w", encoding="utf-8")) if stdout else None
        status = run_command(*command, stdout=output)
    if status not in accepted:
        raise subprocess.CalledProcessError(status, str(command[0]))


if __name__ == "__main__":
    sys.exit(main())
