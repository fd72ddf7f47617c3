"""Conversion of a folded student to a float TFLite flatbuffer, by litert-torch; logits of a student in PyTorch."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ekd_edge.errors import ExportError
from ekd_edge.native_output import quiet
from ekd_train.models.student import Student
from firmware_bridge.dependencies import install_command

__all__ = ["convert", "first_line", "student_logits", "torch_logits"]

_BATCH = 64


def convert(student: nn.Module, window_samples: int) -> bytes:
    """The float32 flatbuffer: input (1, window_samples), output (1, targets * classes).

    Raises ExportError where litert-torch is not installed or cannot convert the student.
    """
    try:
        with quiet():
            import litert_torch

            model = litert_torch.convert(student, (torch.zeros(1, window_samples),))
            return bytes(model.model_content())
    except ImportError as error:
        raise ExportError(f"litert-torch is not installed: run `{install_command('export')}`") from error
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise ExportError(f"litert-torch cannot convert this student: {first_line(error)}") from error


def torch_logits(student: nn.Module, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits of a folded student in PyTorch: windows (n, window_samples) -> (n, targets * classes)."""
    with torch.inference_mode():
        rows = [student(window[None]) for window in torch.tensor(windows)]
        logits: NDArray[np.float32] = torch.cat(rows).numpy()
    return logits


def student_logits(student: Student, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits of an unfolded student in inference mode: (n, window_samples) -> (n, targets, classes)."""
    with torch.inference_mode():
        parts = [student(part).logits for part in torch.tensor(windows).split(_BATCH)]
        logits: NDArray[np.float32] = torch.cat(parts).numpy()
    return logits


def first_line(error: Exception) -> str:
    """The first line of a library's error message; the error's type where the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
