"""Public names of a package that are imported on first use (PEP 562), so that importing the package loads nothing."""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

__all__ = ["lazy_names"]


def lazy_names(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Functions for a package's `__getattr__` and `__dir__`.

    Args:
        package: the package's `__name__`.
        modules: each public name, with the dotted name of the module that defines it.

    Returns:
        `__getattr__`, which imports the module of a name and returns the name's value (and ekd's version for
        `__version__`), and `__dir__`, which lists the public names.
    """

    def get(name: str) -> object:
        if name == "__version__":
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
