"""Predict emotion from skin conductance on the device: load a model, open a sensor or a recording, predict.

    import ekd_edge

    model = ekd_edge.load_model("student-int8.tflite")
    with ekd_edge.open_sensor("/dev/ttyUSB0") as sensor:
        for prediction in model.predict(sensor):
            print(prediction.time_s, prediction.labels)

The names are imported on first use: `import ekd_edge` loads neither numpy nor a TFLite runtime.
"""

from typing import TYPE_CHECKING

from firmware_bridge.lazy import lazy_names

if TYPE_CHECKING:
    from ekd_edge.api import Model, load_model, open_recording, open_sensor
    from ekd_edge.errors import ConfigError, DataError, EkdError, FormatError, ModelFileError, PortError, SignalError
    from ekd_edge.prediction import Prediction
    from ekd_edge.signal.blocks import SampleBlock
    from ekd_edge.sources.live_sensor import LiveSensor

    __version__: str

__all__ = [
    "ConfigError",
    "DataError",
    "EkdError",
    "FormatError",
    "LiveSensor",
    "Model",
    "ModelFileError",
    "PortError",
    "Prediction",
    "SampleBlock",
    "SignalError",
    "__version__",
    "load_model",
    "open_recording",
    "open_sensor",
]

if not TYPE_CHECKING:
    _API = ("Model", "load_model", "open_recording", "open_sensor")
    _ERRORS = ("ConfigError", "DataError", "EkdError", "FormatError", "ModelFileError", "PortError", "SignalError")
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            **dict.fromkeys(_API, "ekd_edge.api"),
            **dict.fromkeys(_ERRORS, "ekd_edge.errors"),
            "Prediction": "ekd_edge.prediction",
            "SampleBlock": "ekd_edge.signal.blocks",
            "LiveSensor": "ekd_edge.sources.live_sensor",
        },
    )
