"""Finding and opening serial ports and pyserial URLs, with one sentence per fault."""

import errno
import getpass
import grp
import os
import re
import select
import stat
import termios
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import serial
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from firmware_bridge.errors import PortError

__all__ = [
    "PORT_FAULTS",
    "check_port",
    "close_port",
    "descriptor_of",
    "drain",
    "find_port",
    "open_port",
    "port_names",
    "read_now",
    "wait_readable",
    "write_all",
    "write_now",
]

PORT_FAULTS = (serial.SerialException, OSError, termios.error)
"""The errors that pyserial may raise when a device is disconnected (pyserial#341, #401, #417)."""

_HANDLERS = "firmware_bridge.emulation.serial_urls"
_READ_S, _WRITE_S = 0.1, 1.0
_READ_BYTES = 1 << 16
_DRAIN_POLL_S = 0.005
_READABLE = select.POLLIN | select.POLLRDHUP
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL | select.POLLRDHUP
_SIMULATED = "sim://"
_ADDRESS = re.compile(r"((tcp|telnet|net|http)://)?(?P<host>[A-Za-z0-9.-]+:[0-9]{1,5})/?")
_BUSY = (errno.EAGAIN, errno.EBUSY)


def port_names() -> list[str]:
    """The serial ports of this machine; stable names (/dev/serial/by-id) come first."""
    stable = sorted(str(path) for path in Path("/dev/serial/by-id").glob("*"))
    return stable + sorted(port.device for port in list_ports.comports())


def find_port(wanted: str, ports: Iterable[ListPortInfo] | None = None) -> str:
    """Resolve the name of a port to a device node or URL.

    Args:
        wanted: "auto" for the only USB serial port, usb:VID:PID or usb:VID:PID:SERIAL for the port of a USB device.
            Other names are returned unchanged.
        ports: the ports to search; None for the ports of this machine.

    Raises:
        PortError: no port matches, or several do.
    """
    if wanted != "auto" and not wanted.startswith("usb:"):
        return wanted
    of_usb = [port for port in (list_ports.comports() if ports is None else ports) if port.vid is not None]
    if wanted != "auto":
        vid, pid, serial_number = _usb_id(wanted)
        of_usb = [
            port
            for port in of_usb
            if (port.vid, port.pid) == (vid, pid) and serial_number in ("", port.serial_number or "")
        ]
    names = sorted(port.device for port in of_usb)
    if not names:
        what = "USB serial port" if wanted == "auto" else f"USB device {wanted.removeprefix('usb:')}"
        raise PortError(f"no {what} was found: plug the sensor in, or name its port")
    if len(names) > 1:
        raise PortError(f"{wanted} matches several ports ({', '.join(names)}): name one of them, or usb:VID:PID:SERIAL")
    return str(names[0])


def _usb_id(text: str) -> tuple[int, int, str]:
    parts = text.split(":", 3)
    try:
        return int(parts[1], 16), int(parts[2], 16), parts[3] if len(parts) > 3 else ""
    except (IndexError, ValueError):
        raise PortError(
            f"{text} is not the name of a USB device: write usb:VID:PID or usb:VID:PID:SERIAL, as in usb:0403:6001"
        ) from None


def check_port(url: str) -> None:
    """Raise PortError if a device node does not exist or cannot be opened. Other URLs are not checked."""
    if "://" in url:
        return
    path = Path(url)
    if not path.exists():
        raise PortError(f"{url} does not exist; {_ports_here()}{_other_url(url)}")
    if not path.is_char_device():
        raise PortError(f"{url} is not a serial port: name a port, or replay the file as a recording")
    if not os.access(path, os.R_OK | os.W_OK):
        raise PortError(_forbidden(path))


def open_port(url: str, baud: int) -> Any:
    """Open a pyserial port exclusively. Its reads wait at most a tenth of a second.

    Raises PortError if the port is missing, busy, not permitted, unreachable or not a port.
    """
    check_port(url)
    if _HANDLERS not in serial.protocol_handler_packages:
        serial.protocol_handler_packages.append(_HANDLERS)
    try:
        return serial.serial_for_url(url, baud, timeout=_READ_S, write_timeout=_WRITE_S, exclusive=True)
    except ValueError as error:
        remedy = "" if url.startswith("sim://") else f"; check the port and the baud rate{_other_url(url)}"
        raise PortError(f"cannot open {url}: {error}{remedy}") from error
    except PORT_FAULTS as error:
        raise PortError(_why(url, error)) from error


def close_port(port: Any) -> None:
    """Close a port; a device that is already disconnected is not an error."""
    # pyserial leaves the socket open where the other end has closed the connection.
    connection = getattr(port, "_socket", None)
    with suppress(*PORT_FAULTS):
        port.close()
    if connection is not None:
        connection.close()


def descriptor_of(port: Any) -> int | None:
    """The file descriptor of a device node, a pseudo-terminal or a socket; None for a port without one."""
    descriptor = getattr(port, "fd", None)
    if isinstance(descriptor, int):
        return descriptor
    try:
        descriptor = port.fileno()
    except (AttributeError, OSError, ValueError):
        return None
    return descriptor if isinstance(descriptor, int) else None


def read_now(port: Any) -> bytes:
    """Read the bytes that have arrived, at most 64 KiB, without waiting.

    Raises one of PORT_FAULTS if the device was disconnected. A port with a descriptor is read without pyserial, which
    discards read bytes when the device is disconnected, reads a socket byte by byte and does not support descriptors
    above 1023.
    """
    descriptor = descriptor_of(port)
    if descriptor is None:
        waiting = port.in_waiting
        found: bytes = port.read(waiting) if waiting else b""
        return found
    event = _ready(descriptor, _READABLE, 0.0)
    if not event:
        return b""
    try:
        data = os.read(descriptor, _READ_BYTES)
    except BlockingIOError:
        return b""
    if not data and event & _GONE:
        raise serial.SerialException("the device was disconnected")
    return data


def wait_readable(port: Any, seconds: float) -> bytes:
    """Wait until bytes have arrived or the time has passed; return bytes that the wait itself has read.

    A port without a descriptor waits by its own read, for at most a tenth of a second. Raises as `read_now`.
    """
    descriptor = descriptor_of(port)
    if descriptor is not None:
        _ready(descriptor, _READABLE, seconds)
        return b""
    waited: bytes = port.read(max(1, port.in_waiting))
    return waited


def write_now(port: Any, data: bytes) -> bytes:
    """Send what the port accepts without waiting; return the bytes that are left. Raises one of PORT_FAULTS."""
    descriptor = descriptor_of(port)
    if descriptor is None:
        with suppress(serial.SerialTimeoutException):
            port.write(data)
        return b""
    try:
        return data[os.write(descriptor, data) :]
    except BlockingIOError:
        return data


def write_all(port: Any, data: bytes, seconds: float = _WRITE_S) -> bool:
    """Send the bytes; return False if the device does not accept them in time. Raises one of PORT_FAULTS."""
    end = monotonic() + seconds
    while data := write_now(port, data):
        descriptor = descriptor_of(port)
        if descriptor is None or not _ready(descriptor, select.POLLOUT, end - monotonic()):
            return False
    return True


def drain(port: Any, seconds: float = _WRITE_S) -> None:
    """Wait until the sent bytes have left the computer, for at most some time: `tcdrain` has no limit.

    Raises one of PORT_FAULTS.
    """
    descriptor = getattr(port, "fd", None)
    if not isinstance(descriptor, int):
        return
    end = monotonic() + seconds
    while port.out_waiting and monotonic() < end:
        sleep(_DRAIN_POLL_S)


def _ready(descriptor: int, event: int, timeout_s: float) -> int:
    """The poll events that occur within the timeout, or 0."""
    poll = select.poll()
    poll.register(descriptor, event)
    return sum(happened for _, happened in poll.poll(max(0.0, timeout_s * 1e3)))


def _why(url: str, error: Exception) -> str:
    code = getattr(error, "errno", None)
    if code in _BUSY:
        return f"{url} is in use by another program: close it there (`fuser -v {url}` names it), then try again"
    if code == errno.EACCES:
        return _forbidden(Path(url))
    if code in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return f"{url} does not exist; {_ports_here()}"
    if code in (errno.EMFILE, errno.ENFILE):
        return f"cannot open {url}: too many files are open; raise their limit (`ulimit -n`), or read fewer ports"
    if code is None and "://" not in url:
        return f"{url} cannot be set up as a serial port ({error}): check the port and the baud rate"
    reason = str(error).removeprefix(f"Could not open port {url}: ")
    return f"cannot open {url}: {reason}; check the device and the port's name"


def _other_url(url: str) -> str:
    """The text `; did you mean URL?` for an incomplete name of a simulated sensor or a network address, else ""."""
    if url.rstrip(":/") == "sim":
        return f"; did you mean {_SIMULATED}?"
    address = _ADDRESS.fullmatch(url)
    return "" if address is None else f"; did you mean socket://{address['host']}?"


def _ports_here() -> str:
    names = port_names()
    if names:
        return f"ports here: {', '.join(names)}"
    return "no serial port was found: plug the sensor in, or try sim://"


def _forbidden(path: Path) -> str:
    """The error message for a node without permission, with a remedy that depends on its group and mode."""
    node = path.stat()
    try:
        group = grp.getgrgid(node.st_gid).gr_name
        members = grp.getgrgid(node.st_gid).gr_mem
    except KeyError:
        group, members = str(node.st_gid), []
    shared = node.st_gid != 0 and node.st_mode & stat.S_IRGRP and node.st_mode & stat.S_IWGRP
    about = f"no permission to open {path} (group {group}, {stat.filemode(node.st_mode)})"
    if not shared:
        return f"{about}: add a udev rule that gives it to one of your groups, such as dialout"
    try:
        listed = getpass.getuser() in members
    except (KeyError, OSError):
        listed = False
    if listed and node.st_gid not in os.getgroups():
        return f"{about}: you are a member, but not in this session: log out and in again"
    return f"{about}: run `sudo usermod -aG {group} $USER`, then log out and in again"
