"""Checks of a model before it classifies a sensor's windows."""

from ekd_edge.errors import SignalError
from ekd_edge.model.manifest import Manifest

__all__ = ["check_sensor_signal", "restart_warning"]


def check_sensor_signal(manifest: Manifest, name: str = "this model") -> None:
    """Raise SignalError unless the model's input is skin conductance in microsiemens."""
    if manifest.signal.unit != "uS":
        raise SignalError(
            f"{name} was made for a signal in {manifest.signal.unit}, not for skin conductance in uS: "
            "choose a model that ekd-export made from a GSR student"
        )


def restart_warning(manifest: Manifest, name: str = "this model") -> str | None:
    """The sentence for a model whose training restarted the running mean at each trial; None for any other model."""
    if not manifest.training.restarted or not manifest.signal.normalization.has_running_mean:
        return None
    return (
        f"{name} was trained on trials that each restart the running mean of its normalization, which a sensor's "
        "stream does not do: its accuracy here was not measured; train and export it again with this version of ekd"
    )
