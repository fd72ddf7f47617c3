"""The public Python interface: `load_model`, `open_sensor`, `open_recording` and `Model`; `ekd_edge` exports them.

Predictions are those of the command: the same loop, the same preprocessing, the same model.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ekd_edge.errors import ConfigError, SignalError
from ekd_edge.model.file import ModelFile, load_model_file
from ekd_edge.model.find import default_model, find_model
from ekd_edge.model.interpreter import Classifier, open_classifier
from ekd_edge.model.manifest import Manifest
from ekd_edge.model.signature import Trust, read_trust, trust_from_environment
from ekd_edge.pipeline.model_checks import check_sensor_signal, restart_warning
from ekd_edge.pipeline.stream import predict_stream
from ekd_edge.prediction import Prediction
from ekd_edge.recording import replay
from ekd_edge.recording.replay import RecordingReplay, choose_smoothing
from ekd_edge.signal.blocks import SampleBlock
from ekd_edge.sources.live_sensor import LiveSensor
from ekd_edge.sources.reconnect import Connection, ReconnectPolicy
from ekd_edge.sources.sensor import SensorFileReplay, SensorOptions
from firmware_bridge.rates import exact_rate
from firmware_bridge.units import Unit, parse_unit

__all__ = ["Model", "Source", "load_model", "open_recording", "open_sensor"]

Source: TypeAlias = LiveSensor | RecordingReplay | SensorFileReplay | Iterable[SampleBlock] | NDArray[np.float64]
"""The sources of `Model.predict`: an open sensor, a recording, sample blocks, or an array of microsiemens."""

_logger = logging.getLogger("ekd_edge")
_MAX_THREADS = 1024


class Model:
    """A verified model, ready to predict. Made by `load_model`."""

    def __init__(self, model_file: ModelFile, classifier: Classifier) -> None:
        self._file = model_file
        self._classifier = classifier

    @property
    def manifest(self) -> Manifest:
        """The model's targets, signal chain, training data and sign-off."""
        return self._file.manifest

    @property
    def path(self) -> Path:
        """The file that the model was read from."""
        return self._file.path

    def predict(
        self,
        source: Source,
        *,
        smoothing_s: float | None = None,
        hysteresis: float | None = None,
        rate_hz: float | Fraction | None = None,
    ) -> Iterator[Prediction]:
        """One Prediction for each window, in order, as samples arrive: those of the `ekd-edge` command.

        Args:
            source: an open sensor, a recording, an iterable of sample blocks, or a one-dimensional array of
                microsiemens.
            smoothing_s: time constant of the mean over probabilities; None for the recording's value, else 0.
            hysteresis: keep the current label until another is more probable by this share; None for the recording's
                value, else 0.
            rate_hz: sample rate of an array; not for other sources.

        Returns:
            An iterator that ends with the source. A label is None where the signal quality is not acceptable.

        Raises:
            ConfigError: an argument is invalid.
            SignalError: the samples cannot be processed.
            PortError: during iteration, when the sensor is unplugged.
            FormatError: during iteration, when the bytes of a sensor or file are not in its format.
        """
        smoothing = choose_smoothing(source, smoothing_s, hysteresis)
        return predict_stream(_blocks_of(source, rate_hz), self.manifest, self._classifier, smoothing)


def load_model(
    path: str | Path | None = None,
    *,
    trust: Trust | str | Path | Sequence[str | Path] | None = None,
    threads: int = 1,
) -> Model:
    """Read and verify a model file and start the TFLite runtime.

    Args:
        path: the file, or "demo" for the shipped model (synthetic data);
            None for $EKD_MODEL, else the newest export in this folder or in `runs/`.
        trust: public key files (PEM) or a `Trust`: only models that one of these keys signed are accepted. None for
            the keys in $EKD_TRUST, else unsigned models too.
        threads: of the runtime.

    Raises:
        ModelFileError: the file is missing, damaged, altered, not trusted, or the runtime cannot run it.
        ConfigError: no model was found, or an argument is invalid.
        SignalError: the model's input is not skin conductance.
        EkdError: no TFLite runtime is installed.
    """
    if not 1 <= threads <= _MAX_THREADS:
        raise ConfigError(f"threads is {threads}: give a whole number from 1 to {_MAX_THREADS}")
    keys = _keys(trust)
    found = default_model(trust=keys) if path is None else find_model(path)
    model_file = load_model_file(found, keys)
    check_sensor_signal(model_file.manifest, found.name)
    if warning := restart_warning(model_file.manifest, found.name):
        _logger.warning(warning)
    return Model(model_file, open_classifier(model_file, threads))


def open_sensor(
    port: str,
    *,
    format: str = "auto",
    rate_hz: float | Fraction | None = None,
    unit: Unit | str | None = None,
    baud: int | None = None,
    reconnect: bool = False,
    wait: bool = False,
    notify: Callable[[str], None] | None = None,
) -> LiveSensor:
    """Open a sensor and start reading it; use the result in a `with` statement.

    Args:
        port: a device node, "auto", usb:VID:PID[:SERIAL], sim:// (a simulated sensor) or socket://HOST:PORT.
        format: name of the device format, with its settings if any; "auto" detects it.
        rate_hz: the true sample rate; None where the device states it.
        unit: of the readings: a `firmware_bridge.units.Unit`, or one of "uS", "ohm" and "kohm".
        baud: baud rate; None for the format's.
        reconnect: wait for the sensor after it was unplugged; otherwise iteration ends with PortError.
        wait: start even if the sensor is not plugged in yet.
        notify: called with each message about the sensor; None logs warnings to the logger "ekd_edge".

    Raises:
        PortError: the port is missing, busy, forbidden or unreachable.
        ConfigError: an argument is invalid.
    """
    options = SensorOptions(format, _rate(rate_hz), _unit(unit), baud)
    return LiveSensor(Connection(port, options, notify or _logger.warning, ReconnectPolicy(reconnect, wait)))


def open_recording(
    path: str | Path,
    *,
    format: str = "auto",
    rate_hz: float | Fraction | None = None,
    unit: Unit | str | None = None,
) -> RecordingReplay | SensorFileReplay:
    """Open recordings of `ekd-edge --record`, or a file of a sensor's bytes such as CSV.

    Args:
        path: a recording, a folder of recordings, or any file in a device format.
        format, rate_hz, unit: as for `open_sensor`, for a file in a device format.

    Raises:
        PortError: there is no such file, or it cannot be read.
        FormatError: the folder has no recordings in it.
        ConfigError: an argument is invalid.
    """
    return replay.open_recording(Path(path), SensorOptions(format, _rate(rate_hz), _unit(unit)))


def _blocks_of(source: Source, rate_hz: float | Fraction | None) -> Iterator[SampleBlock]:
    if isinstance(source, np.ndarray):
        rate = _rate(rate_hz)
        if rate is None:
            raise ConfigError("an array has no sample rate: give rate_hz")
        if source.ndim != 1:
            raise SignalError(f"the array has shape {source.shape}: give one row of microsiemens, shape (n,)")
        return iter([SampleBlock(np.array(source, dtype=np.float64), 0, rate)])
    if rate_hz is not None:
        raise ConfigError("rate_hz is for arrays: state the rate of a sensor or file when opening it")
    if isinstance(source, str | Path):
        raise ConfigError(f"{source} is not open: pass ekd_edge.open_recording(...) or ekd_edge.open_sensor(...)")
    return _checked(iter(source))


def _checked(blocks: Iterator[Any]) -> Iterator[SampleBlock]:
    for block in blocks:
        if not isinstance(block, SampleBlock):
            raise ConfigError(f"the source yields {type(block).__name__}: pass ekd_edge.SampleBlock or an array")
        yield block


def _rate(rate_hz: float | Fraction | None) -> Fraction | None:
    if rate_hz is None:
        return None
    return exact_rate(rate_hz, "rate_hz")


def _unit(unit: Unit | str | None) -> Unit | None:
    if not isinstance(unit, str):
        return unit
    parsed = parse_unit(unit)
    if parsed.kind in ("adc", "divider"):
        raise ConfigError(f"unit {unit!r} needs the converter's resolution: pass a firmware_bridge.units.Unit")
    return parsed


def _keys(trust: Trust | str | Path | Sequence[str | Path] | None) -> Trust | None:
    if trust is None:
        return trust_from_environment()
    if isinstance(trust, Trust):
        return trust
    return read_trust([Path(trust)] if isinstance(trust, str | Path) else [Path(each) for each in trust])
