"""Messages about packages that cannot be loaded. tests/pi tests whole broken installations."""

import json
import subprocess
import sys
import zipfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from firmware_bridge.dependencies import (
    explain_import_error,
    explain_load_error,
    explain_no_runtime,
    install_command,
    processor_of,
    require_packages,
    version_line,
    version_of,
)
from firmware_bridge.errors import ConfigError


def elf(path: Path, machine: int, bits: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9) + b"\3\0" + machine.to_bytes(2, "little"))
    return path


@pytest.mark.parametrize(
    ("machine", "name"),
    [(62, "x86-64"), (183, "64-bit ARM"), (40, "32-bit ARM"), (3, "32-bit x86"), (4711, "processor 4711")],
)
def test_processor_of_a_library_is_read_from_its_header(tmp_path: Path, machine: int, name: str) -> None:
    assert processor_of(elf(tmp_path / "a.so", machine)) == name


def test_processor_of_python_is_known() -> None:
    assert processor_of(Path(sys.executable).resolve()) in ("x86-64", "64-bit ARM", "32-bit ARM")


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"#!/bin/sh\nexit 0 # long enough\n"])
def test_other_files_have_no_processor(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.so").write_bytes(content)
    assert processor_of(tmp_path / "a.so") is None
    assert processor_of(tmp_path / "absent.so") is None


def import_fault(name: str) -> ImportError:
    with pytest.raises(ImportError) as caught:
        import_module(name)
    return caught.value


def test_missing_package_is_reported_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    message = explain_load_error("numpy", ImportError("No module named 'numpy'"))
    assert message == "numpy is not installed: run `pip install './ekd[pi]'`"


def test_package_for_another_processor_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = processor_of(Path(sys.executable).resolve())
    elf(tmp_path / "cobs" / "_ext.cpython-311-somewhere.so", 183 if ours == "x86-64" else 62)
    (tmp_path / "cobs" / "__init__.py").write_text("from cobs import _ext\n")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    message = explain_load_error("cobs", ImportError("cannot import name '_ext'"))
    assert f"cobs in {tmp_path / 'cobs'} was built for" in message
    assert f"but this Python is for {ours}: run `pip install --force-reinstall --no-cache-dir cobs`" in message


def test_broken_package_is_reported_with_its_last_error_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cobs").mkdir()
    (tmp_path / "cobs" / "__init__.py").touch()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    message = explain_load_error(
        "cobs", ImportError("\n\nIMPORTANT: ...\n\nlibfoo.so: cannot open shared object file\n")
    )
    assert (
        "cannot be loaded (libfoo.so: cannot open shared object file): run `pip install --force-reinstall cobs`"
        in message
    )


def test_innermost_package_of_an_import_error_is_reported() -> None:
    outer = ImportError("cobs cannot be imported", name="cobs")
    outer.__cause__ = ImportError("No module named 'numpy._core._multiarray_umath'", name="numpy._core")
    message = explain_import_error(outer)
    assert message is not None
    assert message.startswith("numpy in ")


def test_import_error_of_an_ekd_module_is_not_explained() -> None:
    assert explain_import_error(import_fault("ekd_edge.no_such_module")) is None


@pytest.mark.parametrize(
    ("machine", "bits", "python", "message"),
    [
        ("aarch64", 64, (3, 11), f"no TFLite runtime is installed: run `{install_command('pi')}`"),
        ("aarch64", 32, (3, 11), f"no TFLite runtime is installed: run `{install_command('pi32')}`"),
        ("armv7l", 32, (3, 13), "install the 64-bit Raspberry Pi OS"),
        ("armv6l", 32, (3, 11), "needs a Pi 2, a Zero 2 or newer"),
    ],
)
def test_missing_runtime_is_explained_for_the_machine(
    monkeypatch: pytest.MonkeyPatch, machine: str, bits: int, python: tuple[int, int], message: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("sys.maxsize", 2 ** (bits - 1) - 1)
    monkeypatch.setattr("sys.version_info", python)
    assert message in explain_no_runtime()


def test_install_command_names_the_folder_of_the_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "my ekd").mkdir()
    (tmp_path / "my ekd/pyproject.toml").touch()
    url = (tmp_path / "my ekd").as_uri()
    for editable, option in ((True, "-e "), (False, "")):
        record = json.dumps({"url": url, "dir_info": {"editable": editable}})
        monkeypatch.setattr(
            "importlib.metadata.distribution", lambda _, record=record: SimpleNamespace(read_text=lambda _: record)
        )
        assert install_command("edf") == f"pip install {option}'{tmp_path}/my ekd[edf]'"


@pytest.mark.parametrize(
    "record", [None, "{}", '{"url": "file:///no/such/folder"}', '{"url": "https://ekd.test/x.whl"}', "["]
)
def test_install_command_without_a_folder_names_the_clone(monkeypatch: pytest.MonkeyPatch, record: str | None) -> None:
    monkeypatch.setattr("importlib.metadata.distribution", lambda _: SimpleNamespace(read_text=lambda _: record))
    assert install_command("edf") == "pip install './ekd[edf]'"


def test_require_packages_names_all_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    require_packages("--onnx")
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(ConfigError, match=r"^--onnx needs onnx and onnxscript, which are not installed"):
        require_packages("--onnx", "onnx", "onnxscript")
    with pytest.raises(ConfigError, match=r"^training needs torch, safetensors and rich, which are not installed"):
        require_packages("training", "torch", "safetensors", "rich")
    with pytest.raises(ConfigError, match=r"^an export needs ai-edge-litert, which is .*\[export\]'`$"):
        require_packages("an export", "ai_edge_litert")
    with pytest.raises(ConfigError, match=r"^--ray needs ray, which is not installed: run `.*\[cluster\]'`$"):
        require_packages("--ray", "ray")


def test_version_of_installed_and_missing_packages() -> None:
    assert version_of("ekd") == version("ekd")
    assert version_of("no-such-package") is None
    assert version_line().startswith(f"ekd {version('ekd')}, Python 3.")


def test_command_reports_a_broken_numpy_without_a_traceback(tmp_path: Path) -> None:
    """The numpy package lacks its compiled module, as a package for another processor does."""
    with zipfile.ZipFile(tmp_path / "packages.zip", "w") as archive:
        archive.writestr("numpy/__init__.py", "from numpy._core import _multiarray_umath\n")
        archive.writestr("numpy/_core/__init__.py", "")
    environment = {"PYTHONPATH": str(tmp_path / "packages.zip")}
    command = [sys.executable, "-m", "ekd_edge.cli.main"]
    done = subprocess.run([*command, "--port", "sim://"], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("ekd-edge: numpy in ")
    assert len(done.stderr.splitlines()) == 1
    doctor = subprocess.run([*command, "doctor"], capture_output=True, text=True, env=environment)
    assert doctor.returncode == 2
    assert "FAULT    numpy           numpy in " in doctor.stdout
    assert not doctor.stderr
