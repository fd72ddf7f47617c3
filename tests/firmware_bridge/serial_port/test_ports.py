"""Finding and opening ports, with one sentence and a remedy for each fault."""

import grp
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serial.tools.list_ports_common import ListPortInfo

from ekd_edge.errors import PortError
from firmware_bridge.serial_port.ports import check_port, find_port, open_port, port_names


@pytest.fixture
def node() -> Iterator[str]:
    """The path of a terminal that can be opened."""
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


def test_missing_port_is_reported_with_the_existing_ports(tmp_path: Path) -> None:
    for use in (check_port, lambda url: open_port(url, 9600)):
        with pytest.raises(PortError, match=r"ttyUSB77 does not exist; (ports here: /dev|no serial port was found)"):
            use(str(tmp_path / "ttyUSB77"))


def test_dangling_link_is_a_missing_port(tmp_path: Path) -> None:
    link = tmp_path / "sensor"
    link.symlink_to("/dev/ttyNOWHERE")
    with pytest.raises(PortError, match="does not exist"):
        open_port(str(link), 9600)


def test_recording_is_not_a_port(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text("1\n")
    with pytest.raises(PortError, match=f"{path} is not a serial port: name a port, or replay the file as a recording"):
        open_port(str(path), 9600)
    with pytest.raises(PortError, match="cannot be set up as a serial port"):
        open_port("/dev/null", 9600)


def test_second_reader_gets_a_message_that_the_port_is_busy(node: str) -> None:
    with open_port(node, 115200), pytest.raises(PortError, match=f"{node} is in use by another program.*fuser"):
        open_port(node, 115200)
    open_port(node, 115200).close()


def test_link_to_a_port_opens(node: str, tmp_path: Path) -> None:
    link = tmp_path / "by-id"
    link.symlink_to(node)
    check_port(str(link))
    open_port(str(link), 115200).close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nonsense://x", "not known"),
        ("socket://localhost:1", "cannot open socket://localhost:1"),
        ("sim://?rate=fast", "rate of sim:// is 'fast': give a number of Hz from 0.001 to 100000"),
        ("sim://?seed=x", "not a number"),
        ("sim://?rate=0", "rate of sim:// is '0': give a number"),
        ("sim://?speed=-1", "must not be negative"),
        ("sim://?format=xml", "unknown format"),
        ("sim://?seconds=0", "seconds of sim://"),
        ("sim://?volume=11", "unknown option 'volume': write sim://"),
        ("sim://?sed=4", r"unknown option 'sed': write sim:// .*; did you mean seed\?$"),
        ("sim://somewhere", "write sim://"),
    ],
)
def test_invalid_urls_are_refused(url: str, reason: str) -> None:
    check_port(url)
    with pytest.raises(PortError, match=reason):
        open_port(url, 115200)


@pytest.mark.parametrize("name", ["sim", "sim:", "sim:/"])
def test_incomplete_name_of_the_simulated_sensor_is_completed(name: str) -> None:
    with pytest.raises(PortError, match=r"does not exist; .*; did you mean sim://\?$"):
        check_port(name)


@pytest.mark.parametrize("name", ["192.168.1.5:9000", "tcp://192.168.1.5:9000", "tcp://192.168.1.5:9000/"])
def test_network_address_is_named_as_a_socket(name: str) -> None:
    with pytest.raises(PortError, match=r"; did you mean socket://192\.168\.1\.5:9000\?$"):
        open_port(name, 115200)


def test_refused_connection_is_named_once() -> None:
    with pytest.raises(PortError) as caught:
        open_port("socket://127.0.0.1:1", 115200)
    assert str(caught.value).startswith("cannot open socket://127.0.0.1:1: [Errno 111] Connection refused; ")


def test_impossible_baud_rate_is_refused(node: str) -> None:
    with pytest.raises(PortError, match="check the port and the baud rate"):
        open_port(node, -5)


def test_port_names_are_a_list_of_nodes() -> None:
    assert all(name.startswith("/dev/") for name in port_names())


FORBIDDEN = """
import os, sys
from ekd_edge.errors import PortError
from firmware_bridge.serial_port.ports import {function}
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    {function}({arguments})
except PortError as error:
    print(error)
"""


@pytest.mark.parametrize("function", ["check_port", "open_port"])
@pytest.mark.parametrize(
    ("mode", "own_group", "advice"),
    [(0o660, True, "run `sudo usermod -aG {group} $USER`"), (0o600, True, "udev rule"), (0o660, False, "udev rule")],
)
def test_missing_permission_names_the_group_of_the_port(
    function: str, mode: int, own_group: bool, advice: str, node: str, tmp_path: Path
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can take a node's permissions away from this test's own child")
    gid = next(g.gr_gid for g in grp.getgrall() if g.gr_name in ("dialout", "uucp", "tty")) if own_group else 0
    os.chown(node, 0, gid)
    Path(node).chmod(mode)
    group = grp.getgrgid(gid).gr_name
    arguments = repr(node) + (", 9600" if function == "open_port" else "")
    code = FORBIDDEN.format(function=function, arguments=arguments)
    message = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert message.startswith(f"no permission to open {node} (group {group}, c")
    assert advice.format(group=group) in message
    assert message.count("\n") == 1


def usb(device: str, vid: int | None, pid: int | None, serial_number: str | None = None) -> ListPortInfo:
    port = ListPortInfo(device)
    port.vid, port.pid, port.serial_number = vid, pid, serial_number
    return port


FTDI = usb("/dev/ttyUSB0", 0x0403, 0x6001, "A1")
SECOND_FTDI = usb("/dev/ttyUSB1", 0x0403, 0x6001, "B2")
UNO = usb("/dev/ttyACM0", 0x2341, 0x0043)
BARE = usb("/dev/ttyS0", None, None)


@pytest.mark.parametrize(
    ("wanted", "here", "found"),
    [
        ("auto", [BARE, UNO], "/dev/ttyACM0"),
        ("usb:2341:0043", [BARE, FTDI, UNO], "/dev/ttyACM0"),
        ("usb:0403:6001:B2", [FTDI, SECOND_FTDI], "/dev/ttyUSB1"),
        ("/dev/ttyS0", [], "/dev/ttyS0"),
        ("sim://?seed=1", [], "sim://?seed=1"),
    ],
)
def test_port_is_found_by_its_usb_id(wanted: str, here: list[ListPortInfo], found: str) -> None:
    assert find_port(wanted, here) == found


@pytest.mark.parametrize(
    ("wanted", "here", "advice"),
    [
        ("auto", [BARE], "no USB serial port was found: plug the sensor in"),
        ("auto", [FTDI, UNO], r"auto matches several ports \(/dev/ttyACM0, /dev/ttyUSB0\): name one of them"),
        ("usb:0403:6001", [FTDI, SECOND_FTDI], "usb:VID:PID:SERIAL"),
        ("usb:0403:6001:C3", [FTDI, SECOND_FTDI], "no USB device 0403:6001:C3 was found"),
        ("usb:FTDI", [FTDI], "write usb:VID:PID"),
        ("usb:04g3:6001", [FTDI], "write usb:VID:PID"),
    ],
)
def test_missing_or_ambiguous_port_is_refused(wanted: str, here: list[ListPortInfo], advice: str) -> None:
    with pytest.raises(PortError, match=advice):
        find_port(wanted, here)
