"""Hiding installed packages from the check for optional ones."""

import pytest

from firmware_bridge import dependencies

__all__ = ["hide_packages"]


def hide_packages(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Hide these import packages from `require_packages`, as if they were not installed."""

    class Finder:
        @staticmethod
        def find_spec(name: str) -> object:
            return None if name in packages else dependencies_finder.find_spec(name)

    dependencies_finder = dependencies.PathFinder
    monkeypatch.setattr(dependencies, "PathFinder", Finder)
