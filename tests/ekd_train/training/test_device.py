from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from ekd_edge.signal.design import eeg_spec, gsr_spec
from ekd_train.data.source import open_dataset
from ekd_train.training.device import Resident

SMALL = "synthetic?subjects=2&trials=2&trial_s=12&eeg_channels=2"


@pytest.mark.parametrize("cached", [True, False])
def test_windows_on_the_cpu_are_not_copied_and_never_written_to_the_cache(
    cached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EKD_CACHE", str(tmp_path) if cached else "off")
    specs = [make(rate_hz=Fraction(16), window_s=4.0, hop_s=2.0) for make in (gsr_spec, eeg_spec)]
    windows = open_dataset(SMALL).windows(*specs)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.npy")}
    assert len(files) == (2 if cached else 0)
    resident = Resident.of(windows, torch.device("cpu"))
    assert resident.eeg is not None
    assert windows.eeg is not None
    for tensor, array in ((resident.gsr, windows.gsr), (resident.eeg, windows.eeg)):
        assert tensor.data_ptr() == array.ctypes.data
        np.testing.assert_array_equal(tensor.numpy(), array)
    resident.eeg.zero_()
    assert all(path.read_bytes() == content for path, content in files.items())
