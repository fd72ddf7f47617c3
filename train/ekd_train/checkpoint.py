"""Checkpoints: one safetensors file with its JSON state in the header, replaced by a single rename.

Nothing is pickled. A file holds the weights of every module, the state of every optimizer, the best weights so
far and the history, so that a killed run resumes from its last finished epoch and gives the same weights.
If a file cannot be written (full disk, no permission), saving raises ConfigError and the previous file stays.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ekd_edge.atomic_files import write_whole
from ekd_edge.errors import ConfigError

__all__ = ["checkpoint_path", "load_meta", "load_state", "load_weights", "save_state", "save_weights"]

FORMAT = 1
_BEST = "best"


def checkpoint_path(folder: Path, stage: str) -> Path:
    """Return the path of a stage's checkpoint."""
    return folder / f"checkpoint-{stage}.safetensors"


def save_weights(path: Path, module: nn.Module, **meta: Any) -> None:
    """Write a module's weights and JSON-ready `meta` to `path` atomically."""
    _write(path, {name: tensor.detach() for name, tensor in module.state_dict().items()}, meta)


def load_weights(path: Path, module: nn.Module) -> dict[str, Any]:
    """Load weights that `save_weights` wrote into `module` and return their meta.

    Raises ConfigError if the file is missing, damaged or of another network.
    """
    tensors, meta = _read(path)
    _restore(module, tensors, path)
    return meta


def load_meta(path: Path) -> dict[str, Any]:
    """Return the meta of a file without its tensors. Raises ConfigError if it is missing or damaged."""
    return _read(path, tensors=False)[1]


def save_state(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    best: Mapping[str, Tensor],
    meta: Mapping[str, Any],
) -> None:
    """Write everything that a stage of training needs to resume."""
    tensors = {f"{_BEST}/{name}": tensor for name, tensor in best.items()}
    for key, module in modules.items():
        tensors |= {f"module.{key}/{name}": tensor.detach() for name, tensor in module.state_dict().items()}
    for key, optimizer in optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{key}/{index}/{name}": torch.as_tensor(v) for name, v in state.items()}
    _write(path, tensors, meta)


def load_state(
    path: Path, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Restore modules and optimizers in place; return the best weights so far and the meta."""
    tensors, meta = _read(path)
    groups: dict[str, dict[str, Tensor]] = {}
    for full_name, tensor in tensors.items():
        group, _, name = full_name.partition("/")
        groups.setdefault(group, {})[name] = tensor
    for key, module in modules.items():
        _restore(module, groups.get(f"module.{key}", {}), path)
    for key, optimizer in optimizers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for full_name, tensor in groups.get(f"optimizer.{key}", {}).items():
            index, _, name = full_name.partition("/")
            state.setdefault(int(index), {})[name] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return groups.get(_BEST, {}), meta


def _write(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    header = {"ekd": json.dumps({"format": FORMAT, **meta})}
    # save_file leaves a file of a random name if the process is killed, and its errors hide the cause
    write_whole(path, save({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, metadata=header))


def _read(path: Path, tensors: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise ConfigError(f"{path} does not exist: train first, or name another run folder")
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads((file.metadata() or {}).get("ekd", "{}"))
            found = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} is damaged ({error}): delete it and train again") from error
    if meta.get("format") != FORMAT:
        raise ConfigError(f"{path} was written by another version of ekd: train again with this one")
    return found, meta


def _restore(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise ConfigError(
            f"{path} has the weights of another network than its run folder describes: train again"
        ) from error
