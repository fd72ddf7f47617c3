"""Lazy import of public names on first use."""

import sys

import pytest

from firmware_bridge.lazy import lazy_names


def test_lazy_name_imports_its_module_on_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    get, names = lazy_names("toy", {"rgb_to_hsv": "colorsys"})
    assert names() == ["__version__", "rgb_to_hsv"]
    assert "colorsys" not in sys.modules
    assert get("rgb_to_hsv").__name__ == "rgb_to_hsv"  # type: ignore[attr-defined]
    assert "colorsys" in sys.modules


def test_lazy_name_that_is_unknown_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'toy' has no attribute 'hsv'"):
        lazy_names("toy", {})[0]("hsv")
