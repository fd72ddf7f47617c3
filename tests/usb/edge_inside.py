"""A running `ekd-edge` in a guest, as a user whose only rights are those of the group dialout."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.usb.guest import Guest
from tests.usb.guest_image import SITE

__all__ = ["EdgeInside", "install", "start"]

_MODEL: Final = "/model.tflite"
_HOME: Final = "/home/edge"
_AS_USER: Final = "setpriv --reuid nobody --regid nogroup --groups dialout"
_LOOK_S: Final = 0.1
_PATIENCE_S: Final = 90.0
"""It takes an emulated processor 15 s to load numpy and the TFLite runtime."""


def install(guest: Guest, wheel: Path, model: Path) -> None:
    """Put ekd and a model into a guest, next to the packages that ekd needs."""
    guest.put(wheel.read_bytes(), "/ekd.whl")
    guest.run(f"busybox unzip -q /ekd.whl -d {SITE}")
    guest.put(model.read_bytes(), _MODEL)


@dataclass(frozen=True, slots=True)
class EdgeInside:
    """Made by `start`; it ends with the guest, unless it is stopped before."""

    guest: Guest

    @property
    def stderr(self) -> str:
        """Stderr so far."""
        return self._run("cat err")

    @property
    def readings(self) -> int:
        """The number of its messages that it reads the sensor."""
        return self.stderr.count(" at 128 Hz")

    @property
    def predictions(self) -> int:
        """Lines on stdout so far."""
        return int(self._run("busybox wc -l < out"))

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until the condition is true. Raises TimeoutError, with the messages so far."""
        end = time.monotonic() + _PATIENCE_S
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {_PATIENCE_S:g} s; messages of ekd-edge:\n{self.stderr}")
            time.sleep(_LOOK_S)

    def stop(self) -> int:
        """Ask for a clean stop; the exit status."""
        self._run("kill -TERM $(cat pid)")
        self.until(lambda: self._run("cat status 2> /dev/null || true").strip())
        return int(self._run("cat status"))

    def recorded(self, target: Path) -> Path:
        """The folder of its recordings, copied."""
        self.guest.get(f"{_HOME}/recording", target)
        return target

    def _run(self, command: str) -> str:
        return self.guest.run(f"cd {_HOME}; {command}")


def start(guest: Guest, port: str) -> EdgeInside:
    """Start it as a service would; it records, and waits for a port that is not there yet. port: options may follow."""
    words = f"--port {port} --wait --model {_MODEL} --record recording --record-free 10M --json"
    command = f"HOME={_HOME} EKD_STATUS={_HOME} PYTHONPATH={SITE} {_AS_USER} python3 -m ekd_edge.cli.main {words}"
    guest.run(f"mkdir {_HOME} && chown nobody {_HOME} && cd {_HOME} && touch err out")
    guest.run(f"cd {_HOME}; ( {command} > out 2> err & echo $! > pid; wait $!; echo $? > status ) &")
    return EdgeInside(guest)
