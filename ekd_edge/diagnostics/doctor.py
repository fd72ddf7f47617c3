"""The checks of `ekd-edge doctor`: machine, packages, model, clock and disk, with a remedy for each problem."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

from ekd_edge.diagnostics.machine import Condition, Machine
from ekd_edge.errors import EkdError
from firmware_bridge.dependencies import PACKAGES, explain_load_error, is_32_bit, version_of

__all__ = ["Finding", "Level", "check_clock", "check_disk", "check_machine", "check_model", "check_packages"]

Level = Literal["ok", "note", "warning", "fault"]
"""fault: ekd-edge cannot run. warning: it runs, but not well or not for long. note: for information."""

_LEAST_FREE_BYTES: Final = 500 << 20
_LEAST_MEMORY_BYTES: Final = 200 << 20
_HOT_C: Final = 80.0
_EARLIEST_YEAR: Final = 2025
_COMMAND_S: Final = 5.0
_IMPORTED: Final = {"numpy": "numpy", "serial": "serial", "cobs": "cobs.cobs"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. remedy: what to do, where `message` does not include it."""

    name: str
    level: Level
    message: str
    remedy: str | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def check_machine(machine: Machine, condition: Condition, root: Path = Path("/")) -> Iterator[Finding]:
    """The board, its processor, memory, temperature and power."""
    bits = "a 32-bit Python" if machine.bits == 32 else "a 64-bit Python"
    message = f"{machine.board or machine.processor or 'unknown board'}, {machine.architecture}, {bits}"
    if machine.architecture == "armv6l":
        yield Finding(
            "machine", "fault", message, "use a Pi 2, a Zero 2 or newer: there is no TFLite runtime for ARMv6"
        )
    elif machine.bits == 32 and sys.version_info >= (3, 12):
        yield Finding(
            "machine", "fault", message, "install the 64-bit Raspberry Pi OS: there is no TFLite runtime for this one"
        )
    elif machine.emulated is not None:
        yield Finding(
            "machine", "note", f"{message}, emulated ({machine.emulated}): times measured here do not apply to a board"
        )
    else:
        yield Finding("machine", "ok", message)
    available = _available_bytes(root)
    if available is not None:
        low = available < _LEAST_MEMORY_BYTES
        remedy = "stop other programs: ekd-edge takes 60 MB" if low else None
        yield Finding("memory", "warning" if low else "ok", f"{available >> 20} MB available", remedy)
    temperature_c = condition.temperature_c
    if temperature_c is not None:
        hot = temperature_c >= _HOT_C
        message = f"{temperature_c:.1f} °C"
        yield Finding(
            "temperature",
            "warning" if hot else "ok",
            message,
            "improve the airflow or fit a heat sink" if hot else None,
        )
    throttling = condition.throttling
    if throttling is not None:
        yield _power(throttling.now, throttling.since_boot)


def _power(now: tuple[str, ...], since_boot: tuple[str, ...]) -> Finding:
    if not since_boot and not now:
        return Finding("power", "ok", "never slowed down since boot")
    message = f"now: {', '.join(now) or 'nothing'}; since boot: {', '.join(since_boot) or 'nothing'}"
    under_voltage = any("voltage" in each for each in (*now, *since_boot))
    remedy = "use the power supply made for this board and a short cable" if under_voltage else "improve the airflow"
    return Finding("power", "warning", message, remedy)


def check_packages() -> Iterator[Finding]:
    """Python, and each package that ekd-edge needs, by importing it."""
    place = sys.prefix if sys.prefix != sys.base_prefix else "no virtual environment"
    yield Finding("Python", "ok", f"{sys.version.split()[0]} ({32 if is_32_bit() else 64}-bit), {place}")
    complete = True
    for package, module in _IMPORTED.items():
        try:
            import_module(module)
        except ImportError as error:
            complete = False
            yield Finding(PACKAGES[package], "fault", explain_load_error(package, error))
        else:
            yield Finding(PACKAGES[package], "ok", version_of(PACKAGES[package]) or "version unknown")
    if not complete:
        return
    from ekd_edge.model.interpreter import load_runtime

    try:
        runtime = load_runtime()
    except EkdError as error:
        yield Finding("runtime", "fault", str(error))
        return
    name = PACKAGES[str(runtime.__module__).partition(".")[0]]
    yield Finding("runtime", "ok", f"{name} {version_of(name)} with numpy {version_of('numpy')}")


def check_model(path: Path | None, keys: Sequence[Path] | None) -> Iterator[Finding]:
    """The model that would run: whether it is intact, trusted, signed off and runs. Needs numpy."""
    import numpy as np

    from ekd_edge.model.file import load_model_file
    from ekd_edge.model.find import SIGNOFF_REMEDY, default_model, describe_signoff, find_model
    from ekd_edge.model.interpreter import open_classifier
    from ekd_edge.model.signature import read_trust, trust_from_environment
    from ekd_edge.pipeline.model_checks import check_sensor_signal

    try:
        trust = read_trust(keys) if keys else trust_from_environment()
        path = default_model(trust=trust) if path is None else find_model(path)
        model_file = load_model_file(path, trust)
        check_sensor_signal(model_file.manifest, path.name)
        classifier = open_classifier(model_file)
        begun_s = time.perf_counter()
        classifier.predict(np.zeros((1, model_file.manifest.signal.window_samples), np.float32))
        took_ms = 1e3 * (time.perf_counter() - begun_s)
    except EkdError as error:
        yield Finding("model", "fault", str(error))
        return
    signoff = describe_signoff(model_file.manifest)
    message = f"{path}, {model_file.manifest.kind}, {took_ms:.1f} ms for the first window"
    if signoff:
        never = model_file.manifest.signoff is None
        remedy = "export it again: ekd-export --int8 --max-drop 0.01" if never else SIGNOFF_REMEDY
        yield Finding("model", "warning", f"{message}; {signoff}", remedy)
    else:
        yield Finding("model", "ok", message)


def check_clock(root: Path = Path("/"), now_s: float | None = None) -> Iterator[Finding]:
    """Whether the clock is synchronized: recordings and predictions carry its time."""
    now_s = time.time() if now_s is None else now_s
    message = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now_s)) + " UTC"
    remedy = "connect it to a network and run `sudo timedatectl set-ntp true`, or fit a clock module (RTC)"
    if time.gmtime(now_s).tm_year < _EARLIEST_YEAR:
        yield Finding("clock", "warning", f"the clock is wrong: it shows {message}", remedy)
        return
    synchronized = _synchronized(root)
    if synchronized is None:
        yield Finding("clock", "note", f"{message}; it is not known whether a time server sets the clock")
    elif synchronized:
        yield Finding("clock", "ok", f"{message}, synchronized with a time server")
    else:
        yield Finding("clock", "warning", f"{message}, not synchronized with a time server since boot", remedy)


def _synchronized(root: Path) -> bool | None:
    if (root / "run/systemd/timesync/synchronized").exists():
        return True
    try:
        done = subprocess.run(
            [root / "usr/bin/timedatectl", "show", "--property", "NTPSynchronized", "--value"],
            capture_output=True, text=True, timeout=_COMMAND_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())


def check_disk(folder: Path) -> Iterator[Finding]:
    """Whether recordings can be written to the folder, and how much space is free."""
    place = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        remedy = "a worn SD card is mounted read-only: read `dmesg` and replace the card"
        yield Finding("disk", "fault", f"{place} is on a read-only disk", remedy)
        return
    if not os.access(place, os.W_OK):
        yield Finding("disk", "fault", f"no permission to write to {place}", "name another folder with --record")
        return
    free = shutil.disk_usage(place).free
    message = f"{free / 1e9:.1f} GB free in {place}"
    if free < _LEAST_FREE_BYTES:
        remedy = "free some space: with --record, ekd-edge removes its oldest recordings below 500 MB"
        yield Finding("disk", "warning", message, remedy)
    else:
        yield Finding("disk", "ok", message)


def _available_bytes(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if words[:1] == ["MemAvailable:"] and words[1:2] and words[1].isdecimal():
            return int(words[1]) << 10
    return None
