"""The rig: the firmware's very ELF in simulation, with a waveform at its ADC and its UART on a pseudo-terminal."""

import json
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import ConfigError, PortError

__all__ = ["Rig"]


class Rig:
    """Runs firmware: a context manager that starts the rig and, once a program opens the node `path`, the device.

    rig, elf: what `toolchain.build` made. counts: the waveform, float64 (n,), in counts of a 13-bit sample; it may have
    any rate_hz and is held from one value to the next. speed: times real time, 0 for flat out. ppm: how much the
    device's crystal is fast. link: a symbolic link to make to the node.
    """

    def __init__(
        self,
        rig: Path,
        elf: Path,
        counts: NDArray[np.float64],
        rate_hz: float = 128.0,
        speed: float = 1.0,
        ppm: float = 0.0,
        link: Path | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ekd-rig-")
        self._log = Path(self._folder.name) / "log"
        waveform = Path(self._folder.name) / "waveform"
        np.savetxt(waveform, counts, fmt="%.4f")
        self._command = [
            *(str(rig), "--elf", str(elf), "--waveform", str(waveform), "--rate", str(rate_hz)),
            *("--speed", str(speed), "--ppm", str(ppm), "--log", str(self._log)),
            *(() if link is None else ("--link", str(link))),
        ]
        self._process: subprocess.Popen[str] | None = None
        self.path = ""
        self.events: list[dict[str, Any]] = []
        """What the rig has said so far, the oldest first."""

    def __enter__(self) -> "Rig":
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            self.expect("port")
        except ConfigError:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        process = self._started()
        process.kill()
        process.communicate()
        self._folder.cleanup()

    def command(self, text: str) -> None:
        """`reset`, `unplug`, `plug`, `flip PROBABILITY`, `stall SECONDS`, `ppm N`, `status` or `quit`."""
        pipe = self._started().stdin
        assert pipe is not None
        try:
            pipe.write(text + "\n")
            pipe.flush()
        except BrokenPipeError as error:
            raise PortError("the rig has ended") from error

    def expect(self, event: str) -> dict[str, Any]:
        """Wait for the next such event; others that come before it are kept in `events`.

        Raises ConfigError with the rig's own words where it ends instead.
        """
        process = self._started()
        assert process.stdout is not None
        for line in process.stdout:
            happened: dict[str, Any] = json.loads(line)
            self.events.append(happened)
            if happened["event"] == "port":
                self.path = happened["path"]
            if happened["event"] == event:
                return happened
        assert process.stderr is not None
        raise ConfigError(process.stderr.read().strip().removeprefix("rig: ") or f"the rig ended before {event}")

    def wait(self) -> None:
        """Until the waveform is over and everything was read."""
        self.expect("end")
        self._started().wait()

    def log(self) -> list[NDArray[np.int64]]:
        """What went into the ADC: for each boot the sums of eight readings, int64 (n,)."""
        boots = self._log.read_text().split("reset\n")
        return [np.array(boot.split(), dtype=np.int64) for boot in boots]

    def _started(self) -> "subprocess.Popen[str]":
        assert self._process is not None, "use it as a context manager"
        return self._process
