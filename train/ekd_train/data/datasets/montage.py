"""EEG montage and conversion of skin resistance to conductance, for DEAP and HCI-Tagging."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.units import Unit

__all__ = ["CHANNELS", "EEG_28", "EEG_32", "conductance_us", "is_resistance"]

EEG_32: Final[tuple[str, ...]] = (
    *("Fp1", "AF3", "F3", "F7", "FC5", "FC1", "C3", "T7", "CP5", "CP1", "P3", "P7", "PO3", "O1", "Oz", "Pz"),
    *("Fp2", "AF4", "Fz", "F4", "F8", "FC6", "FC2", "Cz", "C4", "T8", "CP6", "CP2", "P4", "P8", "PO4", "O2"),
)
"""The electrodes in the order of DEAP's rows (the order of its Geneva recordings)."""

EEG_28: Final[tuple[str, ...]] = tuple(name for name in EEG_32 if not name.endswith("z"))
"""The electrodes outside the midline, 14 left and then 14 right.

EmotionKD uses 28 channels without naming them; TSception uses these.
"""

CHANNELS: Final = {"28": EEG_28, "32": EEG_32}
"""The electrodes by the value of the option `channels`."""

_PLAUSIBLE_US = (0.01, 100.0)


def is_resistance(values: NDArray[np.float64]) -> bool:
    """Return whether all values can be skin resistance in Ohm, with a conductance within 0.01 to 100 uS."""
    low, high = _PLAUSIBLE_US
    return bool(np.all((values >= 1e6 / high) & (values <= 1e6 / low)))


def conductance_us(resistance_ohm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the conductance in uS, in the same shape. Raises SignalError if a value is not a positive number."""
    return Unit("ohm").to_microsiemens(resistance_ohm)
