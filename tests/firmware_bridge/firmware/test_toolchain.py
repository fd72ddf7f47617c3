"""`ekd-firmware flash` with the real avrdude and an emulated Arduino bootloader (STK500 version 1)."""

import os
import pty
import shutil
import subprocess
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

OK, IN_SYNC, END = b"\x10", b"\x14", b" "
SIGNATURE = b"\x1e\x95\x0f"  # of an ATmega328P


class Bootloader:
    """Answers avrdude as optiboot does and stores the written flash."""

    def __init__(self, signature: bytes = SIGNATURE) -> None:
        self._signature = signature
        self.flash = bytearray(b"\xff" * 32768)
        self.left = False
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        os.close(self._slave)
        self._thread.join(5)
        os.close(self._master)

    def _read(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            data += os.read(self._master, n - len(data))
        return data

    def _serve(self) -> None:
        address = 0
        try:
            while True:
                command = self._read(1)
                answer = b""
                if command == b"U":
                    address = 2 * int.from_bytes(self._read(2), "little")
                elif command == b"d":
                    size = int.from_bytes(self._read(2), "big")
                    self._read(1)
                    self.flash[address : address + size] = self._read(size)
                elif command == b"t":
                    size = int.from_bytes(self._read(2), "big")
                    self._read(1)
                    answer = bytes(self.flash[address : address + size])
                elif command == b"u":
                    answer = self._signature
                elif command == b"A":
                    self._read(1)
                    answer = b"\x04"
                elif command in (b"B", b"E"):
                    self._read(20 if command == b"B" else 5)
                elif command == b"V":
                    self._read(4)
                    answer = b"\0"
                elif command == b"Q":
                    self.left = True
                assert self._read(1) == END, command
                os.write(self._master, IN_SYNC + answer + OK)
        except OSError:
            return


@pytest.fixture
def bootloader() -> Iterator[Bootloader]:
    found = Bootloader()
    yield found
    found.close()


@pytest.fixture
def avrdude() -> None:
    if shutil.which("avrdude") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("avrdude is missing: run `sudo apt install avrdude`")


def contents(hexfile: Path) -> bytes:
    """The bytes of an Intel hex file from address 0 on."""
    data = bytearray()
    for line in hexfile.read_text().splitlines():
        record = bytes.fromhex(line[1:])
        if record[3] == 0:
            at = int.from_bytes(record[1:3], "big")
            data[at : at + record[0]] = record[4:-1]
    return bytes(data)


def test_flash_writes_the_built_firmware(
    bootloader: Bootloader, built: Callable[..., Path], tmp_path: Path, avrdude: None
) -> None:
    built("firmware")
    command = [sys.executable, "-m", "firmware_bridge.cli.main", "flash", bootloader.path, "--folder", str(tmp_path)]
    done = subprocess.run([*command, "--set", "OPEN_COUNT=4010"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    firmware = contents(tmp_path / "ekd.hex")
    assert len(firmware) > 3000
    assert bytes(bootloader.flash[: len(firmware)]) == firmware
    assert bootloader.left


def test_flash_refuses_another_chip(built: Callable[..., Path], tmp_path: Path, avrdude: None) -> None:
    built("firmware")
    bootloader = Bootloader(b"\x1e\x93\x0b")
    command = [sys.executable, "-m", "firmware_bridge.cli.main", "flash", bootloader.path, "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    bootloader.close()
    assert done.returncode == 2
    assert "avrdude could not write to" in done.stderr.splitlines()[-1]
    assert set(bootloader.flash) == {0xFF}
