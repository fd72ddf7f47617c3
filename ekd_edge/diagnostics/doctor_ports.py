"""Serial ports as `ekd-edge doctor` sees them: who may open them, who has, and who might."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ekd_edge.diagnostics.doctor import Finding
from ekd_edge.errors import EkdError
from firmware_bridge.serial_port.ports import check_port, find_port, port_names

__all__ = ["examine_meddlers", "examine_ports", "open_elsewhere"]

_MEDDLERS: Final = {
    "ModemManager": "it talks to every new serial port for seconds, as if to a modem",
    "brltty": "it takes CH340 adapters for braille displays and removes their ports",
}


def examine_ports(named: Sequence[str], root: Path = Path("/")) -> Iterator[Finding]:
    """Each port named, or those that are here."""
    if not named:
        names = port_names()
        if names:
            yield Finding("port", "ok", f"here: {', '.join(names)}; examine one with --port")
        else:
            yield Finding(
                "port", "warning", "no serial port is here", "plug the sensor in; `lsusb` shows if it is seen"
            )
        return
    for port in named:
        yield _examine(port, root)


def _examine(port: str, root: Path) -> Finding:
    try:
        node = find_port(port)
        check_port(node)
    except EkdError as error:
        return Finding("port", "fault", str(error))
    if "://" in node:
        return Finding("port", "ok", f"{port} is no device node: nothing to examine")
    name = port if node == port else f"{node} ({port})"
    true_name = Path(node).resolve().name
    if f"console={true_name}" in _read(root / "proc/cmdline").replace(",", " ").split():
        remedy = "sudo raspi-config nonint do_serial_cons 1, then restart"
        return Finding("port", "warning", f"{name} is also the system console, which writes to it", remedy)
    if holders := open_elsewhere(Path(node), root):
        if all(holder.startswith("ekd-edge ") for holder in holders):
            return Finding("port", "ok", f"{name} is being read by {', '.join(holders)}")
        return Finding("port", "warning", f"{name} is in use by {', '.join(holders)}", "end it before ekd-edge starts")
    if port.startswith(("/dev/ttyUSB", "/dev/ttyACM")):
        return Finding("port", "note", f"{name} can be opened; its number may change when it is plugged in again: "
                       "--port usb:VID:PID or a name below /dev/serial/by-id stays")  # fmt: skip
    return Finding("port", "ok", f"{name} can be opened")


def open_elsewhere(node: Path, root: Path = Path("/")) -> list[str]:
    """The processes, of those this user may look into, that have this device node open."""
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


def examine_meddlers(root: Path = Path("/")) -> Iterator[Finding]:
    """Programs known to meddle with serial ports, where they run."""
    running = {_read(process / "comm").strip() for process in _processes(root)}
    for name, what in _MEDDLERS.items():
        if name in running:
            yield Finding(name, "warning", f"it runs: {what}", f"sudo systemctl disable --now {name}")
        else:
            yield Finding(name, "ok", "it does not run")


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
