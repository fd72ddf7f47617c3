"""Reference values in golden/*.npz, and the mapping of their Keras names and layouts to PyTorch's."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.helpers.paths import SHARED

GOLDEN = Path(os.environ.get("EKD_GOLDEN", SHARED / "golden"))

NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


class Golden:
    """One npz file, with tensors by key and groups of keys by prefix."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as arrays:
            self.arrays = {name: torch.from_numpy(np.array(arrays[name])) for name in arrays.files}

    def __getitem__(self, key: str) -> Tensor:
        return self.arrays[key]

    def group(self, prefix: str) -> dict[str, Tensor]:
        return {key[len(prefix) :]: value for key, value in self.arrays.items() if key.startswith(prefix)}

    def weights(self) -> dict[str, Tensor]:
        """Return all weights with PyTorch names and layouts, including the key biases and the unused block."""
        return {our_name(name): our_layout(name, value) for name, value in self.group("weight.").items()}


def our_name(name: str) -> str:
    """Return the name in state_dict for a Keras name and the target "arousal"."""
    *path, leaf = name.split(".")
    if leaf == "position_embedding":
        return name
    if path[0] == "classifier":
        path.insert(1, "arousal")
    return ".".join([*path, NORM.get(leaf, {"kernel": "weight"}.get(leaf, leaf))])


def our_layout(name: str, value: Tensor) -> Tensor:
    """Return the tensor in PyTorch's layout."""
    layer = name.split(".")[-2]
    if name.endswith("position_embedding"):
        return value
    if name.endswith("kernel"):
        if layer in ("temporal_conv", "spatial_conv"):
            return value.permute(3, 2, 0, 1)
        if layer == "output":
            return value.flatten(0, 1).T
        return value.flatten(1).T
    return value.flatten()


def find(name: str) -> Golden:
    path = GOLDEN / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"no reference values: {path} is absent (set EKD_GOLDEN to their folder)")
    return Golden(path)


@pytest.fixture(scope="session")
def student_golden() -> Golden:
    return find("student")


@pytest.fixture(scope="session")
def teacher_golden() -> Golden:
    return find("teacher")


@pytest.fixture(scope="session")
def losses_golden() -> Golden:
    return find("losses")


@pytest.fixture
def close() -> Callable[..., None]:
    """Assert that two tensors agree within an absolute (and, if given, relative) tolerance."""

    def check(actual: Tensor, expected: Tensor, absolute: float, relative: float = 0.0) -> None:
        torch.testing.assert_close(
            actual.detach(), expected.to(actual.dtype), atol=absolute, rtol=relative, check_device=False
        )

    return check


@pytest.fixture
def renamed() -> Callable[[str, Tensor], tuple[str, Tensor]]:
    """Fixture: convert a Keras (name, value) to PyTorch's."""
    return lambda name, value: (our_name(name), our_layout(name, value))


@pytest.fixture
def recorded() -> Callable[[nn.Module], dict[str, Tensor]]:
    """Record the output of every module of a network, by name, from its next forward pass on."""

    def attach(network: nn.Module) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}

        def note(name: str) -> Callable[[nn.Module, object, object], None]:
            def hook(_module: nn.Module, _inputs: object, output: object) -> None:
                if isinstance(output, Tensor):
                    seen[name] = output.detach()
                elif isinstance(output, list):
                    seen.update({f"{name}.x{i}": x.detach() for i, x in enumerate(output, start=1)})

            return hook

        for name, module in network.named_modules():
            module.register_forward_hook(note(name))
        return seen

    return attach


@pytest.fixture
def gradients(close) -> Callable[[nn.Module, Golden], None]:
    """Compare every gradient norm and gradient of a network with the reference's training pass."""

    def check(network: nn.Module, golden: Golden) -> None:
        parameters = dict(network.named_parameters())
        norms = golden.group("train.grad_l2.")
        assert parameters.keys() <= {our_name(name) for name in norms}
        largest = max(norms.values())
        for name, norm in norms.items():
            if our_name(name) not in parameters:
                assert norm < 1e-6, f"{name} has a gradient in the reference and is not a weight here"
                continue
            found = parameters[our_name(name)].grad
            full = golden.arrays.get(f"train.grad.{name}")
            if norm < 1e-6 * largest:
                assert found is None or found.norm() < 1e-5 * largest, name
                continue
            assert found is not None, name
            torch.testing.assert_close(found.norm(), norm, atol=0, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
            if full is not None:
                assert (found - our_layout(name, full)).norm() < 1e-4 * norm, name

    return check


@pytest.fixture
def statistics(close) -> Callable[..., None]:
    """Compare the batch norm statistics after one pass with the reference's.

    Keras uses the biased variance for the score gates and the unbiased one for the heads; PyTorch uses the unbiased one
    for all. So the reference's share of the new variance is scaled by n / (n - 1) for the comparison.
    """

    def check(network: nn.Module, before: dict[str, Tensor], golden: Golden, tokens: int) -> None:
        after = network.state_dict()
        for name, expected in golden.group("train.after_forward.").items():
            ours = our_name(name)
            if "score" in name and name.endswith("moving_variance"):
                fresh = (expected - 0.99 * before[ours]) * tokens / (tokens - 1)
                expected = 0.99 * before[ours] + fresh
            close(after[ours], expected, 1e-5, 1e-5)

    return check


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread, because more threads do not speed up small tensors and are slow on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
