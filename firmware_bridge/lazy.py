"""Lazy import of a package's public names on first use (PEP 562)."""

from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["lazy_names"]


def lazy_names(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the functions `__getattr__` and `__dir__` of a package whose names are imported lazily.

    Args:
        package: the package's `__name__`.
        modules: maps each public name to the dotted name of the module that defines it.

    Returns:
        `__getattr__`, which imports the module of a name and returns the name's value, and `__dir__`, which lists the
        public names. The value of `__version__` is ekd's version.
    """

    def get(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import PackageNotFoundError, version  # takes 20 ms

            try:
                return version("ekd")
            except PackageNotFoundError:
                return "unknown"
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name]), name)

    def names() -> list[str]:
        return sorted([*modules, "__version__"])

    return get, names
