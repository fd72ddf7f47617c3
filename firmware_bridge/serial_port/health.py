"""Messages about a running device: silence, damage, losses, restarts, open electrodes and a wrong rate."""

from firmware_bridge.devices.stream import RawBlock, StreamCounts
from firmware_bridge.serial_port.clock import LARGEST_CLOCK_ERROR_PPM, ClockFit, ClockRate

__all__ = ["DeviceHealth"]

_EVERY_S = 1.0
_SILENCE_S = 3.0
_SLOW_PERIODS = 3
"""A slow sensor is silent after this many sampling periods."""
_USELESS_BYTES = 32
"""Fewer bytes without a sample are the incomplete end of a frame or line, or a disturbance of the line."""
_FIRST_SAMPLE_S = 20.0
"""Time in which bytes may arrive before the first sample: a slow sensor's rate is measured by its first lines."""
_NOTICED_PPM, _UNSURE_PPM = 10_000, 5_000
_MEASURED_S, _LASTING_S, _NOTICED_S = 10.0, 3.0, 30.0
"""A wrong rate is a problem after ten seconds of measurement and three more; a small error is noticed after thirty."""


class DeviceHealth:
    """Checks a device's samples and counts, and reports changes in at most one message per second.

    name: the port's name in messages. simulated: whether the device plays a simulation, whose speed is not checked.
    """

    def __init__(self, name: str, simulated: bool = False) -> None:
        self._name, self._simulated = name, simulated
        self._reported_s = float("-inf")
        self._counts = StreamCounts()
        self._segment = self._reported_segment = 0
        self._sampled_s: float | None = None
        self._received = 0
        self._silence: str | None = None
        self._useless = False
        self._wrong_rate: str | None = None
        self._wrong_since_s: float | None = None
        self._noticed = False
        self._fit: ClockFit | None = None

    @property
    def clock(self) -> ClockRate | None:
        """The device's clock, measured by the host's clock; None in the first seconds of a run."""
        return None if self._fit is None else self._fit.rate()

    @property
    def problem(self) -> str | None:
        """A sentence about a fault that lasts, or None: no samples come, or they come at another rate than stated."""
        return self._silence or self._wrong_rate

    def time_of(self, sample_index: int) -> float | None:
        """The host's time at which a sample of the present segment was measured; see `ClockFit.time_of`."""
        return None if self._fit is None else self._fit.time_of(sample_index)

    def add_block(self, block: RawBlock, now_s: float) -> None:
        """Add the last block that was decoded from the bytes that arrived at this time."""
        if self._fit is None or block.segment != self._segment or block.rate_hz != self._fit.nominal_hz:
            if self._fit is not None and block.rate_hz != self._fit.nominal_hz:
                self._wrong_rate, self._noticed = None, False
            self._fit, self._wrong_since_s = ClockFit(block.rate_hz), None
        self._segment = block.segment
        self._fit.push(now_s, block.first_index + len(block.values))

    def check(
        self, now_s: float, sampled_s: float, counts: StreamCounts, segment: int, received_bytes: int
    ) -> str | None:
        """The messages that are due, joined to one, or None.

        Args:
            now_s: the current time.
            sampled_s: time at which the last sample arrived, or, before the first one, at which reading began.
            counts: counts of the stream so far.
            segment: segment of the latest block.
            received_bytes: number of bytes that have arrived so far.
        """
        if sampled_s != self._sampled_s:
            self._sampled_s, self._received = sampled_s, received_bytes if counts.samples else 0
        if now_s - self._reported_s < _EVERY_S:
            return None
        messages = [
            *self._check_silence(now_s - sampled_s, counts.samples > 0, received_bytes - self._received),
            *self._damage(counts),
            *self._restarts(segment),
            *self._check_rate(now_s),
        ]
        if not messages:
            return None
        self._reported_s = now_s
        return "; ".join(messages)

    def _check_silence(self, seconds: float, sampled: bool, received_bytes: int) -> list[str]:
        allowed_s = _SILENCE_S if self._fit is None else max(_SILENCE_S, _SLOW_PERIODS / float(self._fit.nominal_hz))
        advice = "check the wiring, the baud rate and the device format"
        useless = received_bytes >= _USELESS_BYTES
        if seconds < allowed_s:
            self._silence, self._useless = None, False
        elif useless and not self._useless and (sampled or seconds >= _FIRST_SAMPLE_S):
            self._useless = True
            self._silence = (
                f"{received_bytes} bytes have come from {self._name}, but no samples, for {seconds:.0f} s: {advice}"
            )
            return [self._silence]
        elif not useless and self._silence is None:
            self._silence = f"no data has come from {self._name} for {seconds:.0f} s: {advice}"
            return [self._silence]
        return []

    def _damage(self, counts: StreamCounts) -> list[str]:
        before, self._counts = self._counts, counts
        messages = []
        # Before the first sample, damage means a wrong format or baud rate, which the decoder reports.
        if counts.samples and (counts.rejected > before.rejected or counts.dropped > before.dropped):
            rejected, dropped = counts.rejected - before.rejected, counts.dropped - before.dropped
            messages.append(
                f"{rejected} damaged frames or lines from {self._name}, {dropped} samples lost "
                f"(in total {counts.rejected} and {counts.dropped})"
            )
        status, former = counts.status, before.status
        if status is None:
            return messages
        if status.overruns > (former.overruns if former is not None else 0):
            messages.append(
                f"the device at {self._name} has lost {status.overruns} samples internally since it started"
            )
        if status.lead_off != (former is not None and former.lead_off):
            state = "an electrode of {} is off" if status.lead_off else "the electrodes of {} are on again"
            messages.append(state.format(self._name))
        return messages

    def _restarts(self, segment: int) -> list[str]:
        before, self._reported_segment = self._reported_segment, segment
        return [] if segment == before else [f"the device at {self._name} has restarted"]

    def _check_rate(self, now_s: float) -> list[str]:
        clock = self.clock
        if self._simulated or self._fit is None or clock is None or self._fit.span_s < _MEASURED_S:
            return []
        error_ppm = abs(clock.ppm)
        stated = float(self._fit.nominal_hz)
        found = f"{clock.rate_hz:.4g} samples a second arrive at {self._name}, not the stated {stated:.6g}"
        if error_ppm - clock.error_ppm > LARGEST_CLOCK_ERROR_PPM + _UNSURE_PPM:
            if self._wrong_since_s is None:
                self._wrong_since_s = now_s
            if now_s - self._wrong_since_s < _LASTING_S or self._wrong_rate is not None:
                return []
            self._wrong_rate = f"{found}: correct the sampling rate"
            return [self._wrong_rate]
        self._wrong_since_s = None
        if self._wrong_rate is not None and error_ppm < LARGEST_CLOCK_ERROR_PPM:
            self._wrong_rate = None
            return [f"{clock.rate_hz:.4g} samples a second arrive at {self._name}, as stated"]
        if (
            self._noticed
            or self._fit.span_s < _NOTICED_S
            or not _NOTICED_PPM + clock.error_ppm < error_ppm < LARGEST_CLOCK_ERROR_PPM
        ):
            return []
        self._noticed = True
        return [f"{found}: check the sampling rate"]
