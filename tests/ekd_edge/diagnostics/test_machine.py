"""Machine descriptions, read from files like those of boards and emulators."""

import json
import platform
import sys
from pathlib import Path

import pytest

from ekd_edge.diagnostics.machine import Condition, Throttling, emulator, read_condition, read_machine

PI4_CPUINFO = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

Revision\t: c03114
Serial\t\t: 10000000deadbeef
Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""
PI2_CPUINFO = """\
processor\t: 0
model name\t: ARMv7 Processor rev 5 (v7l)
BogoMIPS\t: 38.40
Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm
CPU implementer\t: 0x41
CPU architecture: 7
CPU part\t: 0xc07

Hardware\t: BCM2835
Revision\t: a01041
Model\t\t: Raspberry Pi 2 Model B Rev 1.1
"""
VIRTUAL_CPUINFO = "processor\t: 0\nCPU implementer\t: 0x00\nCPU architecture: 8\nCPU part\t: 0x051\n"
HOST_CPUINFO = (
    "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) CPU\nflags\t\t: fpu vme sse2\n"
)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def running(root: Path, shown: str, true: str) -> Path:
    """Link /proc/self/exe to `shown` and /proc/thread-self/exe to `true`."""
    for name, target in (("self", shown), ("thread-self", true)):
        (root / "proc" / name).mkdir(parents=True, exist_ok=True)
        (root / "proc" / name / "exe").symlink_to(target)
    return root


def board(
    root: Path, model: str = "Raspberry Pi 4 Model B Rev 1.4", kernel: str = "aarch64", cpuinfo: str = PI4_CPUINFO
) -> Path:
    tree(
        root,
        {
            "proc/device-tree/model": model + "\0",
            "proc/device-tree/compatible": "raspberrypi,4-model-b\0brcm,bcm2711\0",
            "proc/cpuinfo": cpuinfo,
            "proc/sys/kernel/arch": kernel + "\n",
            "proc/sys/kernel/osrelease": "6.6.51+rpt-rpi-v8\n",
            "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\n',
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48686\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        },
    )
    return running(root, "/usr/bin/python3.11", "/usr/bin/python3.11")


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_raspberry_pi_is_described(tmp_path: Path) -> None:
    machine = read_machine(board(tmp_path), "aarch64")
    assert (machine.board, machine.processor) == ("Raspberry Pi 4 Model B Rev 1.4", None)
    assert (machine.architecture, machine.system) == ("aarch64", "Debian GNU/Linux 12 (bookworm)")
    assert machine.kernel == "6.6.51+rpt-rpi-v8"
    assert machine.emulated is None
    hardware, software = machine.lines
    assert hardware.startswith("Raspberry Pi 4 Model B Rev 1.4, aarch64, ")
    assert hardware.endswith("Debian GNU/Linux 12 (bookworm), kernel 6.6.51+rpt-rpi-v8")
    assert software.startswith(f"Python {platform.python_version()} (64-bit), numpy ")
    assert read_condition(tmp_path) == Condition(48.686, "ondemand", None)


def test_report_does_not_identify_the_board(tmp_path: Path) -> None:
    report = json.dumps(read_machine(board(tmp_path), "aarch64").to_json())
    assert "deadbeef" not in report
    assert platform.node() not in report


def test_missing_files_give_none(tmp_path: Path) -> None:
    machine = read_machine(tmp_path, "aarch64")
    assert (machine.board, machine.processor, machine.kernel, machine.system, machine.emulated) == (None,) * 5
    assert machine.lines[0].startswith("unknown board, aarch64, ")
    assert read_condition(tmp_path) == Condition(None, None, None)
    assert read_condition(tmp_path).to_json() == {"temperature_c": None, "governor": None, "throttling": None}


def test_unreadable_files_give_none(tmp_path: Path) -> None:
    for name in ("proc/device-tree/model", "proc/cpuinfo", "usr/bin/vcgencmd", "proc/self/exe", "proc/thread-self/exe"):
        (tmp_path / name).mkdir(parents=True)
    tree(tmp_path, {"sys/class/thermal/thermal_zone0/temp": "hot\n", "etc/os-release": "PRETTY_NAME\n=\n"})
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_bytes(b"6.6\xff\0\x1b[2J")
    machine = read_machine(tmp_path, "aarch64")
    assert (machine.board, machine.system, machine.emulated) == (None, None, None)
    assert "\x1b" not in machine.lines[0]
    assert read_condition(tmp_path) == Condition(None, None, None)


def test_temperature_is_that_of_the_processor(tmp_path: Path) -> None:
    zones = (("acpitz", "27800"), ("iwlwifi_1", "39000"), ("cpu_thermal", "-1500"))
    for number, (kind, value) in enumerate(zones):
        folder = f"sys/class/thermal/thermal_zone{number}"
        tree(tmp_path, {f"{folder}/type": f"{kind}\n", f"{folder}/temp": f"{value}\n"})
    assert read_condition(tmp_path).temperature_c == -1.5
    (tmp_path / "sys/class/thermal/thermal_zone2/temp").unlink()
    assert read_condition(tmp_path).temperature_c == 27.8


@pytest.mark.parametrize(
    ("word", "now", "since_boot"),
    [
        (0x0, (), ()),
        (0x50005, ("under-voltage", "throttled"), ("under-voltage", "throttled")),
        (0xA0000, (), ("frequency capped", "soft temperature limit")),
        (
            0xE000A,
            ("frequency capped", "soft temperature limit"),
            ("frequency capped", "throttled", "soft temperature limit"),
        ),
    ],
)
def test_throttling_bits_are_named(
    word: int, now: tuple[str, ...], since_boot: tuple[str, ...], tmp_path: Path
) -> None:
    program(tmp_path / "usr/bin/vcgencmd", f'[ "$1" = get_throttled ] && echo throttled={word:#x}')
    throttling = read_condition(tmp_path).throttling
    assert throttling == Throttling(word)
    assert (throttling.now, throttling.since_boot) == (now, since_boot)
    assert throttling.to_json() == {"word": hex(word), "now": [*now], "since_boot": [*since_boot]}


@pytest.mark.parametrize(
    "script",
    ['echo "Can\'t open device file: /dev/vcio"; exit 255', "exit 0", "echo throttled=", "printf '\\377'"],
)
def test_failing_vcgencmd_gives_no_throttling(script: str, tmp_path: Path) -> None:
    program(tmp_path / "usr/bin/vcgencmd", script)
    assert read_condition(tmp_path).throttling is None


@pytest.mark.parametrize(
    ("architecture", "kernel", "cpuinfo"),
    [
        ("aarch64", "aarch64", PI4_CPUINFO),
        ("aarch64", "aarch64", PI4_CPUINFO.replace("0xd08", "0xd0b")),
        ("armv7l", "aarch64", PI4_CPUINFO),
        ("armv8l", "aarch64", PI4_CPUINFO),
        ("armv7l", "arm", PI2_CPUINFO),
        ("armv6l", "arm", PI2_CPUINFO),
    ],
    ids=["pi-4", "pi-5", "32-bit programs", "32-bit personality", "32-bit kernel", "pi-zero"],
)
def test_board_is_not_an_emulator(architecture: str, kernel: str, cpuinfo: str, tmp_path: Path) -> None:
    assert emulator(board(tmp_path, kernel=kernel, cpuinfo=cpuinfo), architecture) is None


def test_kernel_without_an_architecture_is_not_an_emulator(tmp_path: Path) -> None:
    (board(tmp_path) / "proc/sys/kernel/arch").unlink()
    assert emulator(tmp_path, "aarch64") is None


def test_server_is_not_an_emulator(tmp_path: Path) -> None:
    tree(tmp_path, {"proc/cpuinfo": HOST_CPUINFO, "proc/sys/kernel/arch": "x86_64\n"})
    tree(tmp_path, {"sys/class/dmi/id/sys_vendor": "Dell Inc.\n"})
    running(tmp_path, "/usr/bin/python3", "/usr/bin/python3")
    assert emulator(tmp_path, "x86_64") is None
    assert read_machine(tmp_path, "x86_64").lines[0].startswith("Intel(R) Xeon(R) CPU, x86_64, ")


def test_qemu_user_fakes_one_of_two_links(tmp_path: Path) -> None:
    running(tmp_path, "/usr/bin/python3.11", "/usr/bin/qemu-aarch64-static")
    assert emulator(tmp_path, "aarch64") == "qemu-user: programs are run by qemu-aarch64-static"


def test_another_emulator_of_programs_is_named(tmp_path: Path) -> None:
    running(tmp_path, "/usr/bin/python3.11", "/run/rosetta/rosetta")
    assert emulator(tmp_path, "x86_64") == "rosetta: programs are run by rosetta"


@pytest.mark.parametrize(
    ("architecture", "kernel"),
    [("aarch64", "x86_64"), ("armv7l", "x86_64"), ("x86_64", "aarch64"), ("aarch64", "riscv")],
)
def test_kernel_of_another_processor_is_qemu_user(architecture: str, kernel: str, tmp_path: Path) -> None:
    tree(tmp_path, {"proc/sys/kernel/arch": f"{kernel}\n"})
    assert emulator(tmp_path, architecture) == (
        f"qemu-user: the kernel is of {kernel}, the programs are of {architecture}"
    )


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"proc/cpuinfo": HOST_CPUINFO}, "qemu-user: /proc/cpuinfo is not of aarch64"),
        ({"proc/cpuinfo": VIRTUAL_CPUINFO}, "names no maker"),
        ({"proc/cpuinfo": "model name\t: QEMU Virtual CPU version 2.5+\n"}, "calls itself QEMU Virtual CPU"),
        ({"proc/device-tree/compatible": "linux,dummy-virt\0"}, "qemu-system: the device tree is of linux,dummy-virt"),
        ({"sys/class/dmi/id/sys_vendor": "QEMU\n"}, "qemu-system: the firmware's sys_vendor is QEMU"),
        ({"sys/class/dmi/id/product_name": "QEMU Virtual Machine\n"}, "qemu-system: the firmware's product_name"),
        ({"sys/firmware/qemu_fw_cfg/rev": "3\n"}, "qemu-system: /sys/firmware/qemu_fw_cfg is there"),
    ],
)
def test_emulator_is_recognised_by_each_sign(files: dict[str, str], words: str, tmp_path: Path) -> None:
    tree(tmp_path, files)
    found = read_machine(tmp_path, "aarch64").emulated
    assert found is not None
    assert words in found


def test_this_machine_can_be_read() -> None:
    machine = read_machine()
    assert (machine.architecture, machine.bits) == (platform.machine(), 64 if sys.maxsize > 2**32 else 32)
    assert machine.kernel == platform.release()
    assert machine.runtime in ("ai-edge-litert", "tflite-runtime")
    assert machine.runtime_version
    json.dumps([machine.to_json(), read_condition().to_json()], allow_nan=False)
