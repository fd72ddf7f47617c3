"""Each finding of `ekd-edge doctor`, on trees of files like those of real machines, and the command itself."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ekd_edge.cli.main import main
from ekd_edge.diagnostics.doctor import (
    Finding,
    check_clock,
    check_disk,
    check_machine,
    check_model,
    check_packages,
)
from ekd_edge.diagnostics.doctor_ports import check_interfering_programs, check_ports, processes_using
from ekd_edge.diagnostics.machine import Condition, Machine, Throttling
from firmware_bridge.emulation.player import Player
from firmware_bridge.emulation.pty import PtyDevice
from firmware_bridge.emulation.script import ScriptedEmulator

COOL = Condition(45.0, "ondemand", Throttling(0))
NOW_S = 1_790_000_000.0


def machine(**changes: object) -> Machine:
    about = {
        "board": "Raspberry Pi 4 Model B Rev 1.4", "processor": None, "architecture": "aarch64", "bits": 64, "cores": 4,
        "kernel": "6.6.31", "system": "Debian GNU/Linux 12", "python": "3.11.2", "numpy": "2.4.6",
        "runtime": "ai-edge-litert", "runtime_version": "2.3.0", "emulated": None,
    }  # fmt: skip
    return Machine(**{**about, **changes})


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def written(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_healthy_machine_has_no_warning(tmp_path: Path) -> None:
    written(tmp_path / "proc/meminfo", "MemTotal: 3882560 kB\nMemAvailable:    2097152 kB\n")
    found = by_name(check_machine(machine(), COOL, tmp_path))
    assert {finding.level for finding in found.values()} == {"ok"}
    assert found["machine"].message == "Raspberry Pi 4 Model B Rev 1.4, aarch64, a 64-bit Python"
    assert found["memory"].message == "2048 MB available"


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({"architecture": "armv6l", "bits": 32}, "fault"),
        ({"emulated": "qemu-user: programs are run by qemu-aarch64"}, "note"),
        ({"bits": 32}, "ok" if sys.version_info < (3, 12) else "fault"),
    ],
)
def test_machine_level_depends_on_processor_and_emulation(
    tmp_path: Path, changes: dict[str, object], level: str
) -> None:
    assert by_name(check_machine(machine(**changes), COOL, tmp_path))["machine"].level == level


@pytest.mark.parametrize(
    ("condition", "name", "words"),
    [
        (Condition(83.4, None, None), "temperature", ("83.4 °C", "heat sink")),
        (Condition(None, None, Throttling(0x50005)), "power", ("now: under-voltage, throttled", "power supply")),
        (Condition(None, None, Throttling(0x40000)), "power", ("now: nothing; since boot: throttled", "air")),
    ],
)
def test_throttling_and_heat_are_warnings(
    tmp_path: Path, condition: Condition, name: str, words: tuple[str, str]
) -> None:
    found = by_name(check_machine(machine(), condition, tmp_path))[name]
    assert found.level == "warning"
    assert words[0] in found.message
    assert words[1] in (found.remedy or "")


def test_little_memory_is_a_warning(tmp_path: Path) -> None:
    written(tmp_path / "proc/meminfo", "MemAvailable:      102400 kB\n")
    assert by_name(check_machine(machine(), COOL, tmp_path))["memory"].level == "warning"


def test_unknown_properties_are_left_out(tmp_path: Path) -> None:
    assert list(by_name(check_machine(machine(), Condition(None, None, None), tmp_path))) == ["machine"]


def test_packages_of_this_machine_are_ok() -> None:
    found = by_name(check_packages())
    assert {finding.level for finding in found.values()} == {"ok"}
    assert set(found) == {"Python", "numpy", "pyserial", "cobs", "runtime"}


def test_model_that_runs_is_ok(model_path: Path) -> None:
    (found,) = check_model(model_path, None)
    assert found.level == "ok"
    assert str(model_path) in found.message


def test_model_without_sign_off_is_ok_and_a_damaged_one_a_fault(
    write_model: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_model(tmp_path / "a.tflite")
    (found,) = check_model(path, None)
    assert found.level == "ok"
    path.write_bytes(path.read_bytes()[:-5])
    (found,) = check_model(path, None)
    assert found.level == "fault"
    assert str(path) in found.message


def test_missing_model_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EKD_MODEL", raising=False)
    (found,) = check_model(None, None)
    assert found.level == "fault"
    assert "no model here" in found.message


def test_unsynchronized_clock_is_a_warning(tmp_path: Path) -> None:
    (unknown,) = check_clock(tmp_path, NOW_S)
    assert unknown.level == "note"
    written(tmp_path / "usr/bin/timedatectl", '#!/bin/sh\n[ "$3" = NTPSynchronized ] && echo no\n').chmod(0o755)
    (wrong,) = check_clock(tmp_path, NOW_S)
    assert wrong.level == "warning"
    assert "timedatectl set-ntp true" in (wrong.remedy or "")
    written(tmp_path / "run/systemd/timesync/synchronized")
    (right,) = check_clock(tmp_path, NOW_S)
    assert (right.level, right.message[:4]) == ("ok", "2026")


def test_clock_at_1970_is_a_warning(tmp_path: Path) -> None:
    (found,) = check_clock(tmp_path, 0.0)
    assert found.level == "warning"
    assert "the clock is wrong: it shows 1970-01-01" in found.message


def test_disk_of_a_missing_folder_is_checked(tmp_path: Path) -> None:
    (found,) = check_disk(tmp_path / "not" / "made" / "yet")
    assert found.level in ("ok", "warning")
    assert str(tmp_path) in found.message


def test_nearly_full_disk_is_a_warning(small_disk: Path) -> None:
    (found,) = check_disk(small_disk)
    assert (found.level, found.message) == ("warning", f"0.0 GB free in {small_disk}")


def test_read_only_disk_is_a_fault(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    (found,) = check_disk(small_disk)
    assert found.level == "fault"
    assert "read-only disk" in found.message


def test_named_ports_are_checked(tmp_path: Path) -> None:
    with PtyDevice(Player(ScriptedEmulator([]), stay=True)) as device:
        (good,) = check_ports([device.path], tmp_path)
        assert (good.level, good.message) == ("ok", f"{device.path} can be opened")
    gone, url = check_ports(["/dev/ttyNOSUCH", "sim://"], tmp_path)
    assert gone.level == "fault"
    assert "/dev/ttyNOSUCH does not exist" in gone.message
    assert url.level == "ok"


def test_port_in_use_by_another_program_is_a_warning() -> None:
    with PtyDevice(Player(ScriptedEmulator([]), stay=True)) as device:
        with Path(device.path).open("rb") as node:
            reader = subprocess.Popen(["sleep", "60"], stdin=node)
        try:
            (found,) = check_ports([device.path])
            assert processes_using(Path(device.path)) == [f"sleep ({reader.pid})"]
        finally:
            reader.kill()
            reader.wait()
    assert found.level == "warning"
    assert f"in use by sleep ({reader.pid})" in found.message


def test_port_in_use_by_ekd_edge_is_ok(tmp_path: Path) -> None:
    """The service may run during the check. The port is named by a link, as udev creates it."""
    with PtyDevice(Player(ScriptedEmulator([]), stay=True)) as device:
        (tmp_path / "gsr").symlink_to(device.path)
        written(tmp_path / "proc/437/comm", "ekd-edge\n")
        (tmp_path / "proc/437/fd").mkdir()
        (tmp_path / "proc/437/fd/7").symlink_to(device.path)
        (found,) = check_ports([str(tmp_path / "gsr")], tmp_path)
    assert (found.level, found.message) == ("ok", f"{tmp_path}/gsr is read by ekd-edge (437)")


def test_console_port_is_a_warning(tmp_path: Path) -> None:
    with PtyDevice(Player(ScriptedEmulator([]), stay=True)) as device:
        name = Path(device.path).resolve().name
        written(tmp_path / "proc/cmdline", f"console={name},115200 console=tty1 root=PARTUUID=1 rootwait\n")
        (found,) = check_ports([device.path], tmp_path)
    assert found.level == "warning"
    assert "do_serial_cons" in (found.remedy or "")


def test_interfering_programs_are_warnings(tmp_path: Path) -> None:
    written(tmp_path / "proc/412/comm", "ModemManager\n")
    written(tmp_path / "proc/1/comm", "systemd\n")
    written(tmp_path / "proc/self/comm", "brltty\n")
    found = by_name(check_interfering_programs(tmp_path))
    assert found["ModemManager"].level == "warning"
    assert found["ModemManager"].remedy == "sudo systemctl disable --now ModemManager"
    assert found["brltty"].level == "ok"


def test_exit_status_follows_the_worst_finding(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["doctor", "--model", str(model_path), "--port", "sim://"]
    status = main([*command, "--json"])
    report = json.loads(capsys.readouterr().out)
    levels = {finding["level"] for finding in report["findings"]}
    assert status == {"fault": 2, "warning": 1}.get(report["worst"], 0)
    assert "fault" not in levels
    assert main([*command, "--port", "/dev/ttyNOSUCH"]) == 2
    shown = capsys.readouterr().out
    assert "FAULT    port            /dev/ttyNOSUCH does not exist" in shown
    assert shown.splitlines()[-1].startswith("1 fault")
    assert all(len(line) < 200 for line in shown.splitlines() if os.fspath(model_path) not in line)
