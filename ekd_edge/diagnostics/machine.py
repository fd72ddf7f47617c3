"""Describes this machine: board, temperature, throttling, and whether it is emulated.

Read from files below a root, which tests replace. A missing or unreadable file gives None and never an error. No
package is needed: `ekd-edge doctor` runs where numpy does not load.
"""

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from firmware_bridge.dependencies import PACKAGES, is_32_bit, version_of

__all__ = ["Condition", "Machine", "Throttling", "emulator", "read_condition", "read_machine"]

_SLOWDOWNS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
_SINCE_BOOT = 16
_VCGENCMD = ("usr/bin/vcgencmd", "bin/vcgencmd", "opt/vc/bin/vcgencmd")
_VCGENCMD_S = 5.0
_ZONES = ("cpu", "soc", "pkg")  # names of the thermal zone of a processor; cpu-thermal on a Pi
_LARGEST_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class Throttling:
    """The word of `vcgencmd get_throttled`, as the Raspberry Pi documentation defines its bits."""

    word: int

    @property
    def now(self) -> tuple[str, ...]:
        """Causes of throttling at this moment: bits 0 to 3."""
        return self._names(0)

    @property
    def since_boot(self) -> tuple[str, ...]:
        """Causes of throttling since boot: bits 16 to 19."""
        return self._names(_SINCE_BOOT)

    def _names(self, first: int) -> tuple[str, ...]:
        return tuple(name for bit, name in enumerate(_SLOWDOWNS, first) if self.word >> bit & 1)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"word": hex(self.word), "now": list(self.now), "since_boot": list(self.since_boot)}


@dataclass(frozen=True, slots=True)
class Condition:
    """Properties that change while a machine runs. throttling: None where vcgencmd does not exist or does not work."""

    temperature_c: float | None
    governor: str | None
    throttling: Throttling | None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        throttling = None if self.throttling is None else self.throttling.to_json()
        return {"temperature_c": self.temperature_c, "governor": self.governor, "throttling": throttling}


@dataclass(frozen=True, slots=True)
class Machine:
    """Properties that do not change. Without host name, serial number and user, so that it can be published.

    board: by the device tree ("Raspberry Pi 5 Model B Rev 1.0"). processor: by /proc/cpuinfo, where that has a name.
    architecture: as the kernel says; bits: of this Python, 32 on a 64-bit kernel too. system: the name of the operating
    system. runtime: the TFLite runtime that ekd-edge would use. emulated: the emulator and its sign; None for a real
    machine.
    """

    board: str | None
    processor: str | None
    architecture: str
    bits: int
    cores: int
    kernel: str | None
    system: str | None
    python: str
    numpy: str | None
    runtime: str | None
    runtime_version: str | None
    emulated: str | None

    @property
    def lines(self) -> tuple[str, str]:
        """Two lines of text: the hardware and the software."""
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        kernel = None if self.kernel is None else f"kernel {self.kernel}"
        hardware = [self.board or self.processor or "unknown board", self.architecture, cores, self.system, kernel]
        numpy = "no numpy" if self.numpy is None else f"numpy {self.numpy}"
        runtime = f"{self.runtime} {self.runtime_version or ''}".strip() if self.runtime else "no TFLite runtime"
        software = [f"Python {self.python} ({self.bits}-bit)", numpy, runtime]
        return ", ".join(filter(None, hardware)), ", ".join(software)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def read_machine(root: Path = Path("/"), architecture: str | None = None) -> Machine:
    """Read this machine. architecture: as `platform.machine()` returns it, unless a test replaces it."""
    architecture = architecture or platform.machine()
    runtime, runtime_version = _runtime()
    return Machine(
        board=_line(root / "proc/device-tree/model"),
        processor=next((value for key, value in _cpuinfo(root) if key == "model name"), None),
        architecture=architecture,
        bits=32 if is_32_bit() else 64,
        cores=os.cpu_count() or 1,
        kernel=_line(root / "proc/sys/kernel/osrelease"),
        system=_system(root),
        python=platform.python_version(),
        numpy=version_of("numpy"),
        runtime=runtime,
        runtime_version=runtime_version,
        emulated=emulator(root, architecture),
    )


def read_condition(root: Path = Path("/")) -> Condition:
    """Read temperature, governor and throttling at this moment."""
    governor = _line(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return Condition(_temperature_c(root), governor, _throttling(root))


def emulator(root: Path = Path("/"), architecture: str | None = None) -> str | None:
    """The emulator of this machine and its sign, "qemu-user: ..." or "qemu-system: ..."; None for a real machine.

    Under qemu-user the kernel is the host's. It states its architecture (Linux 6.1 and newer), and qemu fakes
    /proc/self/exe but not /proc/thread-self/exe. Older versions show the host's /proc/cpuinfo. A virtual machine is
    recognised by its firmware; one that imitates a board down to the processor is not.
    """
    architecture = architecture or platform.machine()
    return next(_signs(root, architecture), None)


def _signs(root: Path, architecture: str) -> Iterator[str]:
    shown, true = _target(root / "proc/self/exe"), _target(root / "proc/thread-self/exe")
    if shown and true and shown != true:
        name = Path(true).name
        yield f"{'qemu-user' if 'qemu' in name else name}: programs are run by {name}"
    kernel = _line(root / "proc/sys/kernel/arch")
    if kernel and _family(kernel) != _family(architecture):
        yield f"qemu-user: the kernel is of {kernel}, the programs are of {architecture}"
    cpuinfo = _cpuinfo(root)
    if _family(architecture) == "arm" and any(key == "vendor_id" for key, _ in cpuinfo):
        yield f"qemu-user: /proc/cpuinfo is not of {architecture}"
    for key, value in cpuinfo:
        if key == "CPU implementer" and re.fullmatch("0x0+", value):
            yield "qemu or another virtual machine: the processor names no maker (CPU implementer 0x00)"
        if key == "model name" and "QEMU" in value:
            yield f"qemu-system: the processor calls itself {value}"
    for compatible in ("proc/device-tree/compatible", "sys/firmware/devicetree/base/compatible"):
        if "linux,dummy-virt" in (_line(root / compatible) or ""):
            yield "qemu-system: the device tree is of linux,dummy-virt"
    for name in ("sys_vendor", "product_name", "chassis_vendor"):
        if "QEMU" in (_line(root / "sys/class/dmi/id" / name) or ""):
            yield f"qemu-system: the firmware's {name} is QEMU"
    if (root / "sys/firmware/qemu_fw_cfg").is_dir():
        yield "qemu-system: /sys/firmware/qemu_fw_cfg is there"


def _family(architecture: str) -> str:
    """The family of an architecture: a 64-bit kernel also runs 32-bit programs of its family."""
    if architecture.startswith(("arm", "aarch64")):
        return "arm"
    return "x86" if re.fullmatch(r"x86(_64)?|i[3-6]86", architecture) else architecture


def _temperature_c(root: Path) -> float | None:
    """Temperature of the processor's thermal zone, else of the first zone."""
    found: list[tuple[int, str, float]] = []
    for zone in (root / "sys/class/thermal").glob("thermal_zone*"):
        kind, value = (_line(zone / "type") or "").lower(), _line(zone / "temp") or ""
        if re.fullmatch(r"-?\d+", value):
            rank = next((rank for rank, word in enumerate(_ZONES) if word in kind), len(_ZONES))
            found.append((rank, zone.name, int(value) / 1000))
    return min(found)[2] if found else None


def _throttling(root: Path) -> Throttling | None:
    for place in _VCGENCMD:
        try:
            done = subprocess.run(
                [root / place, "get_throttled"], capture_output=True, text=True, timeout=_VCGENCMD_S, check=False
            )
        except (OSError, ValueError, subprocess.SubprocessError):
            continue
        answer = re.fullmatch(r"throttled=(0x[0-9a-fA-F]+)", done.stdout.strip())
        return Throttling(int(answer[1], 16)) if answer else None
    return None


def _system(root: Path) -> str | None:
    for place in ("etc/os-release", "usr/lib/os-release"):
        for line in _text(root / place).splitlines():
            key, _, value = line.partition("=")
            if key == "PRETTY_NAME":
                return value.strip().strip("\"'") or None
    return None


def _runtime() -> tuple[str | None, str | None]:
    for package in ("ai_edge_litert", "tflite_runtime"):
        if PathFinder.find_spec(package) is not None:
            return PACKAGES[package], version_of(PACKAGES[package])
    return None, None


def _cpuinfo(root: Path) -> list[tuple[str, str]]:
    pairs = (line.partition(":") for line in _text(root / "proc/cpuinfo").splitlines())
    return [(key.strip(), value.strip()) for key, colon, value in pairs if colon]


def _target(link: Path) -> str | None:
    try:
        return str(link.readlink())
    except OSError:
        return None


def _line(path: Path) -> str | None:
    """The text of a file as one printable line; the device tree separates and ends its entries with NUL."""
    shown = "".join(letter if letter.isprintable() else " " for letter in _text(path))
    return " ".join(shown.split()) or None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_FILE).decode(errors="replace")
    except OSError:
        return ""
