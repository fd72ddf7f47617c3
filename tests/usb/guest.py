"""A machine with a USB serial adapter: Debian for arm64 under qemu, with an adapter that can be unplugged."""

import base64
import io
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from tests.usb.guest_image import Image

__all__ = ["BY_ID", "Guest", "booted", "cannot_boot"]

_SERIAL: Final = "GSR0001"
BY_ID: Final = f"/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_{_SERIAL}-if00-port0"
"""The path of the adapter that udev creates."""

_SYSTEMD: Final = "systemd.unit=multi-user.target systemd.condition-needs-update=no systemd.show-status=no"
_KERNEL: Final = f"console=ttyAMA0 panic=-1 mitigations=off kpti=off nokaslr {_SYSTEMD}"
"""Mitigations of processor faults are off: they cost an emulated processor a third of its speed."""
_MACHINE: Final = (
    *("-machine", "virt", "-cpu", "cortex-a72", "-smp", "2", "-accel", "tcg,thread=multi", "-m", "4096"),
    *("-nodefaults", "-display", "none", "-no-reboot", "-append", _KERNEL),
    *("-device", "qemu-xhci,id=usb", "-device", "virtio-serial-pci"),
    *("-device", "virtserialport,chardev=shell,name=shell", "-mon", "chardev=monitor,mode=control"),
)
_LINES: Final = ("wire", "shell", "monitor")
_BOOT_S: Final = 180.0
_ANSWER_S: Final = 60.0
_END: Final = re.compile(rb"\n=== (\d+)\n")


@dataclass(frozen=True, slots=True)
class Guest:
    """A running machine. wire: the far end of the adapter's serial line. The adapter is not plugged in at first."""

    wire: socket.socket
    shell: socket.socket
    monitor: IO[bytes]

    def run(self, command: str, timeout_s: float = _ANSWER_S) -> str:
        """The output of a shell command, with stderr.

        Raises AssertionError where it fails, TimeoutError where it takes too long.
        """
        self._say(f"( {command} ) < /dev/null 2>&1")
        return self._answer(command, timeout_s)

    def put(self, data: bytes, path: str) -> None:
        """Make a file."""
        self._say(f"printf +; head --bytes {len(data)} > {path}")
        # The shell reads ahead: data for another program may be sent only after the shell has stopped reading.
        assert self.shell.recv(1) == b"+"
        self.shell.sendall(data)
        self._answer(path, _ANSWER_S)

    def get(self, folder: str, target: Path) -> None:
        """Copy what is in a folder."""
        packed = base64.b64decode(self.run(f"tar --create --directory {folder} . | base64"))
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(target, filter="data")

    def plug_in(self) -> None:
        """Put the adapter into the USB socket."""
        self._ask("device_add", driver="usb-serial", id="adapter", bus="usb.0", chardev="wire", serial=_SERIAL)

    def unplug(self) -> None:
        """Pull the adapter out."""
        events = self._ask("device_del", id="adapter")
        while "DEVICE_DELETED" not in events:
            events.append(self._hear().get("event", ""))

    def _say(self, command: str) -> None:
        self.shell.sendall(f"{command}; printf '\\n=== %d\\n' $?\n".encode())

    def _answer(self, what: str, timeout_s: float) -> str:
        self.shell.settimeout(timeout_s)
        heard = b""
        while (end := _END.search(heard)) is None:
            piece = self.shell.recv(1 << 16)
            assert piece, "the machine has ended: see its console"
            heard += piece
        printed = heard[: end.start()].decode()
        assert end[1] == b"0", f"{what}: status {end[1].decode()}\n{printed}"
        return printed

    def _ask(self, command: str, **arguments: str) -> list[str]:
        """Have it done; the events that were reported meanwhile."""
        events = []
        self.monitor.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while "return" not in (answer := self._hear()):
            assert "error" not in answer, answer
            events.append(answer.get("event", ""))
        return events

    def _hear(self) -> dict[str, Any]:
        line = self.monitor.readline()
        assert line, "qemu has ended"
        heard: dict[str, Any] = json.loads(line)
        return heard


def cannot_boot() -> str | None:
    """The reason why guests cannot be made here, in a sentence; None where they can."""
    if os.geteuid() != 0:
        return "the files of a guest are made by root"
    for program, package in (("qemu-system-aarch64", "qemu-system-arm"), ("mmdebstrap", "mmdebstrap")):
        if shutil.which(program) is None:
            return f"{program} is not here: apt install {package}"
    return None


@contextmanager
def booted(image: Image, console: Path) -> Iterator[Guest]:
    """A machine that has booted. console: a file for the messages of its kernel."""
    with ExitStack() as stack:
        ours, theirs = zip(*(socket.socketpair() for _ in _LINES), strict=True)
        for end in (*ours, *theirs):
            stack.enter_context(end)
        words = ["qemu-system-aarch64", *_MACHINE, "-serial", f"file:{console}"]
        words += ["-kernel", str(image.kernel), "-initrd", str(image.initramfs)]
        for name, end in zip(_LINES, theirs, strict=True):
            words += ["-chardev", f"socket,id={name},fd={end.fileno()}"]
        process = subprocess.Popen(words, pass_fds=[end.fileno() for end in theirs])
        stack.callback(process.wait)
        stack.callback(process.kill)
        for end in theirs:
            end.close()
        wire, shell, monitor = ours
        monitor.settimeout(_ANSWER_S)
        guest = Guest(wire, shell, stack.enter_context(monitor.makefile("rwb", buffering=0)))
        guest._ask("qmp_capabilities")
        guest.run("true", timeout_s=_BOOT_S)
        yield guest
