"""The firmware simulator runs the ELF file with a waveform at the ADC and the UART on a pseudo-terminal."""

import json
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.errors import ConfigError, PortError

__all__ = ["FirmwareSimulator"]


class FirmwareSimulator:
    """A context manager that runs the firmware in a simulated chip, with a pseudo-terminal at `path`.

    The chip starts when a program opens the pseudo-terminal.

    Args:
        simulator: the program that `toolchain.build("simulator")` builds.
        elf: the firmware's ELF file.
        counts: the waveform, float64 (n,), in counts of a 13-bit sample; each value is held until the next one.
        rate_hz: sampling rate of the waveform.
        speed: speed relative to real time; 0 for as fast as possible.
        ppm: clock error of the device in parts per million; a positive error means a fast clock.
        link: path of a symbolic link to create that points to the pseudo-terminal.
    """

    def __init__(
        self,
        simulator: Path,
        elf: Path,
        counts: NDArray[np.float64],
        rate_hz: float = 128.0,
        speed: float = 1.0,
        ppm: float = 0.0,
        link: Path | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ekd-simulator-")
        self._log = Path(self._folder.name) / "log"
        waveform = Path(self._folder.name) / "waveform"
        np.savetxt(waveform, counts, fmt="%.4f")
        self._command = [
            *(str(simulator), "--elf", str(elf), "--waveform", str(waveform), "--rate", str(rate_hz)),
            *("--speed", str(speed), "--ppm", str(ppm), "--log", str(self._log)),
            *(() if link is None else ("--link", str(link))),
        ]
        self._process: subprocess.Popen[str] | None = None
        self.path = ""
        self.events: list[dict[str, Any]] = []
        """The simulator's events so far, in order."""

    def __enter__(self) -> "FirmwareSimulator":
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
        """Send `reset`, `unplug`, `plug`, `flip PROBABILITY`, `stall SECONDS`, `ppm N`, `status` or `quit`.

        Raises PortError if the simulator has ended.
        """
        pipe = self._started().stdin
        assert pipe is not None
        try:
            pipe.write(text + "\n")
            pipe.flush()
        except BrokenPipeError as error:
            raise PortError("the firmware simulator has ended: start it again") from error

    def expect(self, event: str) -> dict[str, Any]:
        """Wait for the next event of this kind. All events are added to `events`.

        Raises ConfigError with the simulator's message if the simulator ends before the event.
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
        raise ConfigError(
            process.stderr.read().strip().removeprefix("simulator: ") or f"the simulator ended before {event}"
        )

    def wait(self) -> None:
        """Wait until the waveform has ended and all bytes were read."""
        self.expect("end")
        self._started().wait()

    def log(self) -> list[NDArray[np.int64]]:
        """The sums of eight ADC readings, int64 (n,), for each boot."""
        boots = self._log.read_text().split("reset\n")
        return [np.array(boot.split(), dtype=np.int64) for boot in boots]

    def _started(self) -> "subprocess.Popen[str]":
        assert self._process is not None, "the simulator is used outside of its `with` statement"
        return self._process
