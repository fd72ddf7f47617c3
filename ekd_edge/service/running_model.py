"""The model of a running process, and its replacement by the file that is now at its path."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ekd_edge.errors import ConfigError, EkdError
from ekd_edge.model.file import ModelFile, load_model_file
from ekd_edge.model.interpreter import Classifier, open_classifier
from ekd_edge.model.signature import Trust
from ekd_edge.pipeline.model_checks import check_sensor_signal
from ekd_edge.service.model_watcher import ModelWatcher
from ekd_edge.service.session import SensorSession

__all__ = ["RunningModel", "open_model", "reload_model"]


@dataclass(frozen=True, slots=True)
class RunningModel:
    """A model file with its open interpreter.

    trust, threads: with which the file was opened. watcher: notices that the file was replaced.
    """

    file: ModelFile
    classifier: Classifier
    trust: Trust | None
    threads: int
    watcher: ModelWatcher


def open_model(path: Path, trust: Trust | None, threads: int, notify: Callable[[str], None]) -> RunningModel:
    """Load and open a model for skin conductance.

    Args:
        path: the model file.
        trust: keys that the file must be signed by; None where it may be unsigned.
        threads: for inference.
        notify: called with one sentence when another file is at the path.

    Returns:
        The model.

    Raises:
        EkdError: the file cannot be read, is not trusted, cannot be run, or is a model of another signal.
    """
    watcher = ModelWatcher(path, notify)
    file = load_model_file(path, trust)
    check_sensor_signal(file.manifest, path.name)
    return RunningModel(file, open_classifier(file, threads), trust, threads, watcher)


def reload_model(
    running: RunningModel, sessions: Sequence[SensorSession], notify: Callable[[str], None]
) -> RunningModel:
    """Replace the running model by the file that is now at its path. The present model runs on where that fails.

    Args:
        running: the present model.
        sessions: whose pipelines continue with the new one; windows start again where its signal chain is another.
        notify: called with one sentence about the result.

    Returns:
        The model that runs now.
    """
    path = running.file.path
    try:
        found = open_model(path, running.trust, running.threads, notify)
        if _shown(found) != _shown(running):
            raise ConfigError(f"{path} has other targets, labels or training data: restart ekd-edge to run it")
    except EkdError as error:
        notify(f"the model was not reloaded, the present one runs on: {error}")
        return running
    for session in sessions:
        session.pipeline.use_model(found.file.manifest)
    restarted = "" if found.file.manifest.signal == running.file.manifest.signal else "; windows start again"
    notify(f"reloaded {path}: SHA-256 {found.file.manifest.sha256[:12]}{restarted}")
    return found


def _shown(model: RunningModel) -> tuple[object, ...]:
    """What the output of the process shows about its model."""
    manifest = model.file.manifest
    return tuple((target.name, target.labels) for target in manifest.targets), manifest.training.synthetic
