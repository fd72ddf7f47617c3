"""Opening and closing a port in a thread of its own: both can block for seconds, on Bluetooth or a network."""

import threading
from collections.abc import Callable

from ekd_edge.sources.sensor import Sensor

__all__ = ["Opening"]


class Opening:
    """One call that opens or closes a port, in a thread.

    call: returns the open sensor, or None. name: of the thread.
    """

    def __init__(self, call: Callable[[], Sensor | None], name: str) -> None:
        self._call = call
        self._sensor: Sensor | None = None
        self._error: BaseException | None = None
        self._abandoned = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether the call has returned."""
        return not self._thread.is_alive()

    def result(self) -> Sensor | None:
        """What the call returned, after `done`. Raises what the call raised."""
        if self._error is not None:
            raise self._error
        return self._sensor

    def abandon(self) -> None:
        """Close the sensor as soon as the call returns it."""
        with self._lock:
            self._abandoned = True
            sensor = self._sensor
        if sensor is not None:
            sensor.close()

    def _run(self) -> None:
        try:
            sensor = self._call()
        except BaseException as error:  # noqa: BLE001  raised again by `result`, in the thread that reads the port
            self._error = error
            return
        with self._lock:
            self._sensor = sensor
            abandoned = self._abandoned
        if abandoned and sensor is not None:
            sensor.close()
