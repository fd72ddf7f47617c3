from pathlib import Path

import pytest
import torch
from torch import nn

from ekd_edge.errors import ConfigError
from ekd_train.checkpoint import load_state, load_weights, save_state, save_weights


def _trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(3):
        _step(net, optimizer)
    return net, optimizer


def _step(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    net(torch.arange(20.0).reshape(5, 4)).square().mean().backward()
    optimizer.step()


def test_restored_state_takes_the_same_next_step(tmp_path: Path) -> None:
    net, optimizer = _trained()
    best = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    save_state(tmp_path / "c.safetensors", {"net": net}, {"adam": optimizer}, best, {"history": [1, "two"]})
    other = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    other_optimizer = torch.optim.Adam(other.parameters(), lr=1e-2)
    loaded, meta = load_state(tmp_path / "c.safetensors", {"net": other}, {"adam": other_optimizer})
    assert meta["history"] == [1, "two"]
    assert all(torch.equal(loaded[name], tensor) for name, tensor in best.items())
    _step(net, optimizer)
    _step(other, other_optimizer)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    net, _ = _trained()
    save_weights(tmp_path / "w.safetensors", net)
    with pytest.raises(ConfigError, match="another network"):
        load_weights(tmp_path / "w.safetensors", nn.Linear(2, 2))


@pytest.mark.parametrize("keep", [0, 7, 100])
def test_truncated_checkpoint_is_refused(tmp_path: Path, keep: int) -> None:
    net, _ = _trained()
    path = tmp_path / "w.safetensors"
    save_weights(path, net)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ConfigError, match="damaged"):
        load_weights(path, net)


def test_missing_weights_are_reported_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="train first"):
        load_weights(tmp_path / "none.safetensors", nn.Linear(2, 2))
