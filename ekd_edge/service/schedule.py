"""When to read a port: once when its next window should be complete, and before its buffer is full."""

__all__ = ["ReadSchedule"]

_MAX_PAUSE_S = 1.0
"""Upper limit of the time between two reads: silence, losses and a wrong rate are noticed by reading."""
_BUFFER_BYTES = 4095
_BUFFER_SHARE = 0.4
"""Share of the system's buffer of a serial port that may fill between two reads."""
_MUCH_BYTES = 1500
"""After a read of this many bytes the next follows at once: the device sends faster than expected."""
_FIRST_PAUSE_S = 0.1
_LATE_S, _EARLIER_S = 0.001, 0.002
"""A window is read this long after it should be complete. After each read in time the next one is made earlier by
`_EARLIER_S`, until a read is too early: this tracks a device whose clock is fast."""
_NEAR_S = 0.05
_LONGEST_BURST_S = 0.13
"""Assumed before the first burst was seen: the window is awaited by so much earlier."""
_RETRY_S = 0.004
_MEASURING_S = 30.0
"""After an opening, each timed read is followed by one that the next bytes start: their time of arrival is known, and
the device's clock is measured soon."""


class ReadSchedule:
    """The time of the next read of one port, and whether arriving bytes should start a read before that time.

    Reading each sample as it arrives costs many times as much CPU as one read for each window, most of it for waking
    up. `wake_s` is on the clock of `monotonic`. `armed` is set where a window lacks only the samples of the device's
    next burst. A port without a descriptor cannot be armed; it is read again after a few milliseconds.

    Args:
        now_s: when the port was opened.
        has_descriptor: whether a selector can wait for the port's bytes.
        hop_s: seconds from one window to the next.
    """

    def __init__(self, now_s: float, has_descriptor: bool, hop_s: float) -> None:
        self._has_descriptor, self._hop_s = has_descriptor, hop_s
        self._expected_s: float | None = None
        self._read_s = now_s
        self._measuring_until_s = now_s + _MEASURING_S
        self._bytes_per_s: float | None = None
        self._burst_s = _LONGEST_BURST_S
        self._waiting = False
        self.wake_s = now_s
        self.armed = False

    def after_read(
        self, now_s: float, received: int, received_s: float, missing_s: float | None, complete: bool
    ) -> None:
        """Plan the next read.

        Args:
            now_s: when the port was read.
            received: number of bytes that were read.
            received_s: seconds of signal that were read.
            missing_s: seconds of signal that the next window needs; None while that is unknown.
            complete: whether the read completed a window.
        """
        on_arrival, self._waiting, self.armed = self._waiting, False, False
        self._measure(now_s, received)
        if on_arrival and received_s > 0:
            self._burst_s = received_s
        if received >= _MUCH_BYTES:
            self.wake_s = now_s
            return
        limit_s = now_s + self._longest_pause_s()
        if missing_s is None:
            self._expected_s = None
            self._wait_for_bytes(now_s, limit_s)
            return
        if self._expected_s is None:
            self._expected_s = now_s + missing_s - self._burst_s
        elif complete and on_arrival:
            self._expected_s = now_s + missing_s + _LATE_S
        elif complete:
            self._expected_s = min(self._expected_s + self._hop_s, now_s + missing_s) - _EARLIER_S
        elif now_s >= self._expected_s - _RETRY_S:
            if missing_s > max(_NEAR_S, 2 * self._burst_s):
                self._expected_s = now_s + missing_s - self._burst_s
            else:
                self._wait_for_bytes(now_s, limit_s)
                return
        if now_s < self._measuring_until_s and not on_arrival and self._has_descriptor:
            self._wait_for_bytes(now_s, limit_s)
            return
        self.wake_s = min(limit_s, max(now_s, self._expected_s))

    def _measure(self, now_s: float, received: int) -> None:
        elapsed_s, self._read_s = now_s - self._read_s, now_s
        if elapsed_s > 0.02:
            rate = received / elapsed_s
            before = rate if self._bytes_per_s is None else self._bytes_per_s
            self._bytes_per_s = max(rate, 0.9 * before)

    def _longest_pause_s(self) -> float:
        if self._bytes_per_s is None:
            return _FIRST_PAUSE_S
        return min(_MAX_PAUSE_S, _BUFFER_SHARE * _BUFFER_BYTES / max(1.0, self._bytes_per_s))

    def _wait_for_bytes(self, now_s: float, limit_s: float) -> None:
        self._waiting, self.armed = True, self._has_descriptor
        self.wake_s = limit_s if self._has_descriptor else min(limit_s, now_s + _RETRY_S)
