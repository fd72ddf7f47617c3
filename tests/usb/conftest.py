"""A machine with a real USB serial adapter, on request: `make test-usb`."""

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from ekd_edge.deploy.wheels import own_wheel
from ekd_edge.errors import ConfigError
from ekd_edge.signal.design import gsr_spec
from tests.helpers.paths import ROOT
from tests.usb.edge_inside import install
from tests.usb.guest import Guest, booted, cannot_boot
from tests.usb.guest_image import Image, make_image


@pytest.fixture(scope="session")
def image() -> Image:
    """The image of guests. Without the tools, tests skip, and fail in CI; without Debian's packages they skip."""
    if not os.environ.get("EKD_USB"):
        pytest.skip("a machine with a USB adapter takes minutes: make test-usb")
    if reason := cannot_boot():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        return make_image()
    except (AssertionError, ConfigError) as error:
        pytest.skip(f"NOTHING WAS TRIED, for packages cannot be had: {error}")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout."""
    return own_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def quick_model(write_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prediction after four seconds, and every second from then on."""
    signal = gsr_spec(rate_hz=Fraction(16), window_s=2, hop_s=1)
    return write_model(tmp_path_factory.mktemp("model") / "quick.tflite", signal=signal)


@pytest.fixture
def bare_guest(image: Image, tmp_path: Path) -> Iterator[Guest]:
    """A machine of the test's own without ekd, the adapter not plugged in."""
    with booted(image, tmp_path / "console") as guest:
        yield guest


@pytest.fixture
def guest(bare_guest: Guest, wheel: Path, quick_model: Path) -> Guest:
    """A machine of the test's own with ekd in it, the adapter not plugged in."""
    install(bare_guest, wheel, quick_model)
    return bare_guest


@pytest.fixture(scope="session")
def rows() -> Iterator[list[tuple[object, ...]]]:
    """Rows of measurements, which are written to build/usb.md at the end."""
    rows: list[tuple[object, ...]] = []
    yield rows
    cells = (
        "--port",
        "unplugged",
        "renamed",
        "read again after",
        "samples recorded",
        "unheard before",
        "lost with the plug",
    )
    if rows:
        (ROOT / "build").mkdir(exist_ok=True)
        lines = [cells, ["---"] * len(cells), *rows]
        (ROOT / "build" / "usb.md").write_text("".join(f"| {' | '.join(map(str, line))} |\n" for line in lines))


@pytest.fixture
def row(rows: list[tuple[object, ...]]) -> Callable[..., None]:
    """row(*cells), as `rows` names them."""
    return lambda *cells: rows.append(cells)
