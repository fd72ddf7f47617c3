"""A bundle on a machine without a network: installed, started by the installer's commands, restarted by systemd."""

import json
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ekd_edge.deploy.bundle import make_bundle
from ekd_edge.deploy.pi_os import pi_os
from ekd_edge.model.file import load_model_file
from ekd_export.signing import new_key, read_private_key, sign_in_place
from tests.usb.guest import Guest
from tests.usb.wired_sensor import WiredSensor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TARGET = pi_os("12")
FOLDER = f"ekd-{TARGET.name}"
HOME = "/home/pi"
RUNTIME = "XDG_RUNTIME_DIR=/run/user/1000"
"""pam_systemd sets it for each user who logs in."""
PATIENCE_S = 120.0
LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Pi:
    """A machine with the service, seen by its user pi."""

    guest: Guest

    def run(self, command: str, timeout_s: float = 60.0) -> str:
        """The output of a command of the user. Raises AssertionError where it fails."""
        user = "setpriv --reuid pi --regid pi --init-groups --reset-env"
        return self.guest.run(f"{user} env -C {HOME} {RUNTIME} sh -c {shlex.quote(command)}", timeout_s)

    def install(self) -> None:
        """Unpack and install, then run exactly the commands that the installer prints."""
        self.run(f"tar xf bundle.tar && python3 {FOLDER}/install.py --service > messages", timeout_s=300)
        messages = self.run("cat messages")
        ((start, linger),) = re.findall(r"^start it: +(.+)\nstart at boot: sudo (.+)$", messages, re.MULTILINE)
        self.guest.run(f"USER=pi; {linger}")
        self.until(lambda: self.run("systemctl --user is-active default.target || true") == "active\n")
        self.run(start)

    @property
    def journal(self) -> str:
        """The messages of the service, as its user sees them."""
        return self.run("journalctl --user-unit ekd-edge --no-pager")

    @property
    def lines(self) -> list[str]:
        """The lines that the service has written."""
        return self.run("cat predictions.jsonl 2> /dev/null || true").splitlines()

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until the condition is true. Raises TimeoutError with the journal."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > end:
                journal = self.guest.run("journalctl --no-pager")
                raise TimeoutError(f"not within {PATIENCE_S:g} s; the journal:\n{journal}")
            time.sleep(LOOK_S)

    def until_predictions(self) -> None:
        """Wait until there are more of them."""
        before = len(self.lines)
        self.until(lambda: len(self.lines) > before)


@pytest.fixture
def bundle(wheel: Path, quick_model: Path, tmp_path: Path) -> Path:
    """One whose service trusts a key; its model is signed by it."""
    model = tmp_path / "student-int8.tflite"
    model.write_bytes(quick_model.read_bytes())
    public = new_key(tmp_path / "key")
    sign_in_place(model, read_private_key(tmp_path / "key"))
    return make_bundle(tmp_path / "bundle.tar", TARGET, load_model_file(model), key=public, wheel=wheel).path


def test_service_is_installed_offline_and_restarted(bare_guest: Guest, bundle: Path, quick_model: Path) -> None:
    bare_guest.put(bundle.read_bytes(), f"{HOME}/bundle.tar")
    pi = Pi(bare_guest)
    with WiredSensor(bare_guest.wire) as sensor:
        pi.install()
        bare_guest.plug_in()
        sensor.join()
        pi.until_predictions()

        pi.run("kill -KILL $(systemctl --user show --property MainPID --value ekd-edge)")
        pi.until_predictions()

        bare_guest.unplug()
        bare_guest.plug_in()
        pi.until_predictions()

        # As in a restart of the machine, which cannot be tested: its files are in memory.
        bare_guest.run("systemctl stop user@1000 && systemctl start user@1000")
        pi.until_predictions()
        assert f"running {HOME}/ekd/student-int8.tflite" in pi.run("ekd/bin/ekd-edge status")
        doctor = pi.run("ekd/bin/ekd-edge doctor --port auto --model ekd/student-int8.tflite || true")
        assert re.search(r"^  ok +port +/dev/ttyUSB\d \(auto\) is read by ekd-edge", doctor, re.MULTILINE)
        assert "FAULT" not in doctor

        bare_guest.put(quick_model.read_bytes(), f"{HOME}/ekd/student-int8.tflite")
        pi.run("systemctl --user restart ekd-edge")
        pi.until(lambda: "student-int8.tflite is not signed" in pi.journal)
        assert "Traceback" not in pi.journal
        assert {"targets", "segment"} <= set.intersection(*(set(json.loads(line)) for line in pi.lines))
