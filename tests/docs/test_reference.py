"""Generated reference pages are current; pages name only existing files, modules and functions."""

import importlib.util
import re
from types import ModuleType

import pytest

from tests.helpers.paths import ROOT


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_reference", ROOT / "docs" / "generate_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_current(generator: ModuleType) -> None:
    for name, text in generator.pages().items():
        assert (generator.FOLDER / name).read_text(encoding="utf-8") == text, "run python docs/generate_reference.py"


def test_presets_are_all_described() -> None:
    from ekd_train.config import preset_names

    text = (ROOT / "docs" / "reference" / "presets.md").read_text(encoding="utf-8")
    assert {name for name in preset_names() if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("package", ["firmware_bridge", "ekd_edge", "ekd_train", "ekd_export"])
def test_public_functions_are_all_in_the_python_reference(package: str) -> None:
    module = importlib.import_module(package)
    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    names = {name for name in getattr(module, "__all__", ()) if not name.endswith("Error") and name != "__version__"}
    assert {name for name in names if f"`{name}" not in text} == set()


def test_architecture_names_files_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    prefixes = ("firmware_bridge/", "ekd_edge/", "train/", "export/", "tests/", "benchmarks/", "docs/", "examples/")
    paths = [word for word in re.findall(r"`([\w./-]+/[\w./-]*)`", text) if word.startswith(prefixes)]
    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_architecture_names_modules_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`((?:firmware_bridge|ekd_edge|ekd_train|ekd_export)(?:\.\w+)+)`", text))
    assert len(names) > 20
    assert [name for name in sorted(names) if not _exists(name)] == []


def _exists(name: str) -> bool:
    """Whether a dotted name is a module, or a name in one."""
    parent, _, last = name.rpartition(".")
    try:
        if importlib.util.find_spec(name) is not None:
            return True
    except ModuleNotFoundError:
        return False
    return hasattr(importlib.import_module(parent), last)
