"""The fixture of the frame codec in Python and C."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from firmware_bridge.devices.ekd import frame


@pytest.fixture(scope="session", params=["python", "c"])
def codec(request: pytest.FixtureRequest, built: Callable[..., Path]) -> Any:
    """The frame codec in Python or C: crc16, wrap, encode, parse and decoder()."""
    if request.param == "c":
        return _module("csrc/c_codec.py").Codec(built("host"))
    return SimpleNamespace(
        crc16=frame.crc16, wrap=frame.wrap, encode=frame.encode, parse=frame.parse, decoder=frame.Decoder
    )


def _module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("c_codec", Path(__file__).parent / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
