"""Messages about a running device: silence, damage, losses, restarts, open electrodes and a wrong rate."""

from firmware_bridge.devices.stream import RawBlock, StreamCounts
from firmware_bridge.serial_port.clock import ClockFit, ClockRate

__all__ = ["DeviceHealth"]

_EVERY_S = 1.0
_SILENCE_S = 3.0
_WRONG_PPM = 10_000
_PLAYED_PPM = 1_000_000
"""Upper limit of a reported rate error: a device at twice its stated rate is a recording that is played faster."""
_SURE_S = 15.0


class DeviceHealth:
    """Checks a device's counts and reports changes in at most one message per second."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._reported_s = float("-inf")
        self._counts = StreamCounts()
        self._segment = self._reported_segment = 0
        self._silent = False
        self._wrong = False
        self._fit: ClockFit | None = None
        self._first_s = 0.0

    @property
    def clock(self) -> ClockRate | None:
        """The device's clock, measured by the host's clock; None in the first seconds of a run."""
        return None if self._fit is None else self._fit.rate()

    problem: str | None = None

    def time_of(self, sample_index: int) -> float | None:
        """When a sample was measured; None while that is unknown."""
        return None

    def add_block(self, block: RawBlock, now_s: float) -> None:
        """Add the last block that was decoded from the bytes that arrived at this time."""
        if self._fit is None or block.segment != self._segment or block.rate_hz != self._fit.nominal_hz:
            self._fit, self._first_s = ClockFit(block.rate_hz), now_s
        self._segment = block.segment
        self._fit.push(now_s, block.first_index + len(block.values))

    def check(self, now_s: float, arrived_s: float, counts: StreamCounts, segment: int) -> str | None:
        """The messages that are due, joined to one, or None.

        Args:
            now_s: the current time.
            arrived_s: time of the last byte.
            counts: counts of the stream so far.
            segment: segment of the latest block.
        """
        if now_s - self._reported_s < _EVERY_S:
            return None
        messages = [
            *self._silence(now_s - arrived_s),
            *self._damage(counts),
            *self._restarts(segment),
            *self._rate(now_s),
        ]
        if not messages:
            return None
        self._reported_s = now_s
        return "; ".join(messages)

    def _silence(self, seconds: float) -> list[str]:
        silent, self._silent = self._silent, seconds >= _SILENCE_S
        if silent or not self._silent:
            return []
        return [
            f"no data has come from {self._name} for {seconds:.0f} s: check the wiring, the baud rate and the device "
            "format"
        ]

    def _damage(self, counts: StreamCounts) -> list[str]:
        before, self._counts = self._counts, counts
        messages = []
        # Before the first sample, damage means a wrong format or baud rate, which the decoder reports.
        if counts.samples and (counts.rejected > before.rejected or counts.dropped > before.dropped):
            rejected, dropped = counts.rejected - before.rejected, counts.dropped - before.dropped
            messages.append(
                f"{rejected} damaged frames or lines, {dropped} samples lost "
                f"(in total {counts.rejected} and {counts.dropped})"
            )
        status, former = counts.status, before.status
        if status is None:
            return messages
        if status.overruns > (former.overruns if former is not None else 0):
            messages.append(f"the device has lost {status.overruns} samples internally since it started")
        if status.lead_off != (former is not None and former.lead_off):
            messages.append("an electrode is off" if status.lead_off else "the electrodes are on again")
        return messages

    def _restarts(self, segment: int) -> list[str]:
        before, self._reported_segment = self._reported_segment, segment
        return [] if segment == before else ["the device has restarted"]

    def _rate(self, now_s: float) -> list[str]:
        if self._wrong or now_s - self._first_s < _SURE_S:
            return []
        clock = self.clock
        if self._fit is None or clock is None or not _WRONG_PPM + clock.error_ppm < abs(clock.ppm) < _PLAYED_PPM:
            return []
        self._wrong = True
        stated = float(self._fit.nominal_hz)
        return [f"{clock.rate_hz:.4g} samples a second arrive, not the stated {stated:.6g}: check the sampling rate"]
