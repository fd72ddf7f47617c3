"""The checks of `ekd-edge doctor` for serial ports: permissions, processes that use them and interfering programs."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ekd_edge.diagnostics.doctor import Finding
from ekd_edge.errors import EkdError
from firmware_bridge.serial_port.ports import check_port, find_port, port_names

__all__ = ["check_interfering_programs", "check_ports", "processes_using"]

_INTERFERING: Final = {
    "ModemManager": "it sends modem commands to every new serial port for seconds",
    "brltty": "it claims CH340 adapters as braille displays and removes their ports",
}


def check_ports(named: Sequence[str], root: Path = Path("/")) -> Iterator[Finding]:
    """Check each named port; list the ports of this machine where none is named."""
    if not named:
        names = port_names()
        if names:
            yield Finding("port", "ok", f"found {', '.join(names)}; check one with --port")
        else:
            yield Finding(
                "port",
                "warning",
                "no serial port was found",
                "plug the sensor in; `lsusb` shows whether it is detected",
            )
        return
    for port in named:
        yield _check_port(port, root)


def _check_port(port: str, root: Path) -> Finding:
    try:
        node = find_port(port)
        check_port(node)
    except EkdError as error:
        return Finding("port", "fault", str(error))
    if "://" in node:
        return Finding("port", "ok", f"{port} is not a device node: nothing to check")
    message = port if node == port else f"{node} ({port})"
    true_name = Path(node).resolve().name
    if f"console={true_name}" in _read(root / "proc/cmdline").replace(",", " ").split():
        remedy = "sudo raspi-config nonint do_serial_cons 1, then restart"
        return Finding(
            "port", "warning", f"{message} is the system console: its output mixes with the sensor's", remedy
        )
    if holders := processes_using(Path(node), root):
        if all(holder.startswith("ekd-edge ") for holder in holders):
            return Finding("port", "ok", f"{message} is read by {', '.join(holders)}")
        return Finding(
            "port", "warning", f"{message} is in use by {', '.join(holders)}", "end that program before ekd-edge starts"
        )
    if port.startswith(("/dev/ttyUSB", "/dev/ttyACM")):
        return Finding("port", "note", f"{message} can be opened, but its number may change when it is replugged: use "
                       "--port usb:VID:PID or a name in /dev/serial/by-id")  # fmt: skip
    return Finding("port", "ok", f"{message} can be opened")


def processes_using(node: Path, root: Path = Path("/")) -> list[str]:
    """The processes that have this device node open, among those that this user may inspect."""
    true_name, holders = node.resolve(), []
    for process in _processes(root):
        if process.name == str(os.getpid()):
            continue
        try:
            if any(_points_to(each, true_name) for each in (process / "fd").iterdir()):
                holders.append(f"{_read(process / 'comm').strip() or 'a process'} ({process.name})")
        except OSError:
            continue
    return holders


def check_interfering_programs(root: Path = Path("/")) -> Iterator[Finding]:
    """Whether programs run that are known to interfere with serial ports."""
    running = {_read(process / "comm").strip() for process in _processes(root)}
    for name, what in _INTERFERING.items():
        if name in running:
            yield Finding(name, "warning", f"running: {what}", f"sudo systemctl disable --now {name}")
        else:
            yield Finding(name, "ok", "not running")


def _processes(root: Path) -> list[Path]:
    try:
        return [each for each in (root / "proc").iterdir() if each.name.isdecimal()]
    except OSError:
        return []


def _points_to(link: Path, target: Path) -> bool:
    try:
        return link.readlink() == target
    except OSError:
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
