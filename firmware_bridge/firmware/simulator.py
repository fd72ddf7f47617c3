"""The firmware simulator: runs the ELF file, with a waveform at the ADC and the UART on a pseudo-terminal."""

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
    """Runs the firmware in a simulated chip, on a pseudo-terminal at `path`: a context manager.

    The chip starts when a program opens the pseudo-terminal.

    Args:
        simulator: the program that `toolchain.build("simulator")` makes.
        elf: the firmware.
        counts: the waveform, float64 (n,), in counts of a 13-bit sample; each value is held until the next.
        rate_hz: sampling rate of the waveform.
        speed: times real time; 0 for as fast as possible.
        ppm: error of the device's crystal in parts per million; positive is fast.
        link: path of a symbolic link to make to the pseudo-terminal.
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
        """The simulator's events so far, the oldest first."""

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
        """`reset`, `unplug`, `plug`, `flip PROBABILITY`, `stall SECONDS`, `ppm N`, `status` or `quit`."""
        pipe = self._started().stdin
        assert pipe is not None
        try:
            pipe.write(text + "\n")
            pipe.flush()
        except BrokenPipeError as error:
            raise PortError("the firmware simulator has ended: start it again") from error

    def expect(self, event: str) -> dict[str, Any]:
        """Wait for the next event of that kind; events before it are kept in `events`.

        Raises ConfigError with the simulator's message where it ends first.
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
        """Wait until the waveform has ended and everything was read."""
        self.expect("end")
        self._started().wait()

    def log(self) -> list[NDArray[np.int64]]:
        """The ADC's input: for each boot the sums of eight readings, int64 (n,)."""
        boots = self._log.read_text().split("reset\n")
        return [np.array(boot.split(), dtype=np.int64) for boot in boots]

    def _started(self) -> "subprocess.Popen[str]":
        assert self._process is not None, "use it as a context manager"
        return self._process
