"""The whole road in one go, as `make demo` runs it: every step is a command that a user could type.

    python -m ekd_export.demo build/demo

Everything here is synthetic: the recordings, the sensor's signal, and so every figure.
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

__all__ = ["main"]

PRESET = "smoke"
SPEED = 60
THREADS = 1  # networks this small gain nothing from a second thread, and lose much where that core is busy


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
        _demo(folder)
    except subprocess.CalledProcessError as error:
        print(f"demo: the step above failed with exit status {error.returncode}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    print(f"\nDone in {minutes} min {seconds} s. In {folder}/ (all of it from synthetic data):")
    for name, meaning in (
        ("student-float32.tflite", "the distilled student"),
        ("student-int8.tflite", "the same, quantized: copy this one file to a Raspberry Pi"),
        ("student-int8.html", "the sign-off: what int8 cost, with plots"),
        ("eval.json", "accuracy of both on held-out subjects, the difference and its interval"),
        ("predictions.jsonl", "what ekd-edge said, one line a window"),
        ("signal.png", "skin conductance and predictions over time"),
    ):
        print(f"  {name:<24} {meaning}")
    print("\nNext, with a sensor plugged in:")
    print(f"  ekd-edge --port /dev/ttyUSB0 --model {folder / 'student-int8.tflite'}")
    print('or with your own recordings (README, "Your own data"):')
    print("  ekd-train --preset edge --data recordings:FOLDER && ekd-export --int8 --max-drop 0.01")
    return 0


def _demo(folder: Path) -> None:
    run = folder / "run"
    float32, int8 = folder / "student-float32.tflite", folder / "student-int8.tflite"
    recording, predictions = folder / "recording.csv", folder / "predictions.jsonl"

    _title("1/6  Train a teacher on EEG + GSR, distil a GSR-only student with adaptive feedback")
    _call("ekd-train", "--preset", PRESET, "--threads", THREADS, "--out", run)
    _title("2/6  Convert the student to TFLite")
    _call("ekd-export", run, "-o", float32)
    _title("3/6  Quantize it to int8, calibrated on training subjects, and sign off what that costs")
    _call("ekd-export", run, "--int8", "--max-drop", "0.01", "-o", int8, accepted=(0, 3))
    _title("4/6  What did int8 cost? Both models on held-out subjects")
    _call("ekd-eval", float32, int8)
    _call("ekd-eval", float32, int8, "--json", stdout=folder / "eval.json")
    _title("5/6  A sensor on a serial device node, and ekd-edge reading it")
    data = json.loads((run / "run.json").read_text(encoding="utf-8"))
    subject = data["split"]["test"][0]
    _call("ekd-train", "data", "--data", data["source"], "--subject", subject, "--out", recording)
    _live(folder, recording, int8, predictions)
    _title("6/6  A picture of it")
    _call(
        sys.executable, "-m", "ekd_export.report.plot_recording", "--signal", recording, "--predictions", predictions,
        "--synthetic", "-o", folder / "signal.png",
    )  # fmt: skip


def _live(folder: Path, recording: Path, model: Path, predictions: Path) -> None:
    """The simulated sensor on a pseudo-terminal at SPEED x real time, read by the real ekd-edge."""
    link = folder / "ttyGSR0"
    simulate = ("ekd-firmware", "simulate", "--waveform", recording, "--link", link, "--speed", SPEED)
    edge = ("ekd-edge", "--port", link, "--once", "--model", model, "--json")
    _show(*simulate, suffix=" &")
    with subprocess.Popen(_resolved(simulate), stdout=subprocess.PIPE, text=True) as sensor:
        try:
            assert sensor.stdout is not None
            sensor.stdout.readline()
            node = link.resolve()
            _show(*edge, suffix=f" > {predictions}")
            with predictions.open("w", encoding="utf-8") as output:
                subprocess.run(_resolved(edge), stdout=output, check=False)
        finally:
            sensor.terminate()
    with predictions.open(encoding="utf-8") as lines:
        count = sum(1 for _ in lines)
    if not count:
        raise subprocess.CalledProcessError(2, "ekd-edge")
    print(f"The recording is over and the simulated sensor has unplugged itself: {count} predictions from {node}")


def _title(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def _show(*command: object, suffix: str = "") -> None:
    words = ["python" if word == sys.executable else str(word) for word in command]
    print(f"$ {shlex.join(words)}{suffix}", flush=True)


def _resolved(command: Sequence[object]) -> list[str]:
    program, *rest = map(str, command)
    beside = Path(sys.executable).parent / program
    return [str(beside) if beside.exists() else program, *rest]


def _call(*command: object, stdout: Path | None = None, accepted: Sequence[int] = (0,)) -> None:
    _show(*command, suffix=f" > {stdout}" if stdout else "")
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(stdout.open("w", encoding="utf-8")) if stdout else None
        done = subprocess.run(_resolved(command), check=False, stdout=output)
    if done.returncode not in accepted:
        raise subprocess.CalledProcessError(done.returncode, str(command[0]))


if __name__ == "__main__":
    sys.exit(main())
