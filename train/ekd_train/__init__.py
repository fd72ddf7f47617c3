"""Train the EEG + GSR teacher and distill the GSR-only student.

    import ekd_train
    run = ekd_train.train(ekd_train.load_preset("edge"), data="recordings:mine", out="runs/mine")
    print(run.results["student"]["test"])

The names are imported on first use.
"""

from typing import TYPE_CHECKING

from firmware_bridge.lazy import lazy_names

if TYPE_CHECKING:
    from ekd_edge.errors import ConfigError as ConfigError
    from ekd_edge.errors import DataError as DataError
    from ekd_edge.errors import EkdError as EkdError
    from ekd_train.config import TrainConfig as TrainConfig
    from ekd_train.config import load_preset as load_preset
    from ekd_train.config import preset_names as preset_names
    from ekd_train.data.source import open_dataset as open_dataset
    from ekd_train.run import Run as Run
    from ekd_train.sweeps.api import SweepResult as SweepResult
    from ekd_train.sweeps.api import sweep as sweep
    from ekd_train.training.trainer import resume as resume
    from ekd_train.training.trainer import train as train

    __version__: str

__all__ = [
    "ConfigError",
    "DataError",
    "EkdError",
    "Run",
    "SweepResult",
    "TrainConfig",
    "__version__",
    "load_preset",
    "open_dataset",
    "preset_names",
    "resume",
    "sweep",
    "train",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ConfigError": "ekd_edge.errors",
        "DataError": "ekd_edge.errors",
        "EkdError": "ekd_edge.errors",
        "Run": "ekd_train.run",
        "SweepResult": "ekd_train.sweeps.api",
        "TrainConfig": "ekd_train.config",
        "load_preset": "ekd_train.config",
        "open_dataset": "ekd_train.data.source",
        "preset_names": "ekd_train.config",
        "resume": "ekd_train.training.trainer",
        "sweep": "ekd_train.sweeps.api",
        "train": "ekd_train.training.trainer",
    },
)
