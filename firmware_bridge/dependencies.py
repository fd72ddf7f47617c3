"""Checks of the packages that ekd depends on: their versions, reasons why one cannot be loaded, and install commands.

The checks read the package files and import no package, so that they work where numpy cannot be loaded.
"""

import json
import platform
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from firmware_bridge.errors import ConfigError

__all__ = [
    "PACKAGES",
    "explain_import_error",
    "explain_load_error",
    "explain_no_runtime",
    "install_command",
    "is_32_bit",
    "processor_of",
    "require_packages",
    "version_line",
    "version_of",
]

PACKAGES = {
    "numpy": "numpy",
    "serial": "pyserial",
    "cobs": "cobs",
    "ai_edge_litert": "ai-edge-litert",
    "tflite_runtime": "tflite-runtime",
    "cryptography": "cryptography",
}
"""Maps the import name of each package that ekd-edge depends on to its distribution name."""

_OPTIONAL = {
    "torch": ("torch", "train"),
    "scipy": ("scipy", "train"),
    "safetensors": ("safetensors", "train"),
    "rich": ("rich", "train"),
    "matplotlib": ("matplotlib", "train"),
    "defusedxml": ("defusedxml", "train"),
    "mne": ("mne", "bridges"),
    "pandas": ("pandas", "bridges"),
    "litert_torch": ("litert-torch", "export"),
    "ai_edge_quantizer": ("ai-edge-quantizer", "export"),
    "torchao": ("torchao", "export"),
    "ai_edge_litert": ("ai-edge-litert", "export"),
    "edfio": ("edfio", "train"),
    "packaging": ("packaging", "bundle"),
    "pip": ("pip", "bundle"),
    "onnx": ("onnx", "onnx"),
    "onnxscript": ("onnxscript", "onnx"),
    "onnxruntime": ("onnxruntime", "onnx"),
    "tflite_micro": ("tflite-micro", "micro"),
    "ray": ("ray", "cluster"),
    "shtab": ("shtab", "completion"),
}
"""Maps the import name of each optional package to its distribution name and the extra of ekd that installs it.

The TFLite runtime of the device is in `PACKAGES`: an import error of ai_edge_litert names the extra of the device."""

_PROCESSORS = {3: "32-bit x86", 40: "32-bit ARM", 62: "x86-64", 183: "64-bit ARM", 243: "RISC-V"}
_ELF_MACHINE = slice(18, 20)


def version_line() -> str:
    """The versions of ekd and Python, and the processor."""
    return f"ekd {version_of('ekd') or 'not installed'}, Python {platform.python_version()}, {platform.machine()}"


def version_of(name: str) -> str | None:
    """The installed version of a distribution, or None if it is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # takes 20 ms

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def is_32_bit() -> bool:
    """Whether this Python is a 32-bit program; the kernel may still be 64-bit and report aarch64."""
    return sys.maxsize < 2**32


def processor_of(file: Path) -> str | None:
    """The processor that an ELF executable or library was built for, or None for another kind of file."""
    try:
        with file.open("rb") as opened:
            head = opened.read(20)
    except OSError:
        return None
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return None
    code = int.from_bytes(head[_ELF_MACHINE], "big" if head[5] == 2 else "little")
    return _PROCESSORS.get(code, f"processor {code}")


def install_command(extra: str) -> str:
    """The shell command that installs ekd with an extra from the folder of the current installation."""
    source = _source_folder()
    if source is None:
        return f"pip install './ekd[{extra}]'"
    folder, editable = source
    return f"pip install {'-e ' if editable else ''}'{folder}[{extra}]'"


def require_packages(purpose: str, *packages: str) -> None:
    """Check that optional packages are installed, without importing them.

    Args:
        purpose: the option or function that requires the packages, such as "--onnx".
        packages: import names, each a key of `_OPTIONAL`.

    Raises:
        ConfigError: a package is missing; the message has the command that installs it.
    """
    missing = [package for package in packages if PathFinder.find_spec(package) is None]
    if missing:
        *others, last = (_OPTIONAL[package][0] for package in missing)
        names = f"{', '.join(others)} and {last}" if others else last
        is_or_are = "is" if len(missing) == 1 else "are"
        extra = _OPTIONAL[missing[0]][1]
        raise ConfigError(f"{purpose} needs {names}, which {is_or_are} not installed: run `{install_command(extra)}`")


def explain_import_error(error: ImportError) -> str | None:
    """A sentence with the reason and the remedy for an import error of a known package, or None for other packages."""
    for name in _modules_being_imported(error):
        package = name.partition(".")[0]
        if package in PACKAGES:
            return explain_load_error(package, error)
        if package in _OPTIONAL and PathFinder.find_spec(package) is None:
            name, extra = _OPTIONAL[package]
            return f"{name} is not installed: run `{install_command(extra)}`"
    return None


def explain_load_error(package: str, error: ImportError | OSError) -> str:
    """A sentence with the reason and the remedy for a package of `PACKAGES` that could not be imported."""
    name = PACKAGES[package]
    folder = _folder_of(package)
    if folder is None:
        return f"{name} is not installed: run `{install_command(_edge_extra())}`"
    ours = processor_of(Path(sys.executable).resolve())
    theirs = {found for library in sorted(folder.rglob("*.so*")) if (found := processor_of(library))}
    if ours is not None and theirs and ours not in theirs:
        return (
            f"{name} in {folder} was built for {' and '.join(sorted(theirs))}, but this Python is for {ours}: run "
            f"`pip install --force-reinstall --no-cache-dir {name}` on this machine"
        )
    return (
        f"{name} in {folder} cannot be loaded ({_last_line(error)}): run `pip install --force-reinstall {name}`, or "
        "create a new virtual environment if this one mixes packages of several systems"
    )


def explain_no_runtime() -> str:
    """A sentence with the remedy for a missing TFLite runtime, depending on the processor and the Python version."""
    if platform.machine() == "armv6l":
        return "no TFLite runtime exists for this processor (ARMv6): ekd-edge needs a Pi 2, a Zero 2 or newer"
    if is_32_bit() and sys.version_info >= (3, 12):
        return (
            f"there is no TFLite runtime for a 32-bit Python {platform.python_version()}: install the 64-bit Raspberry "
            "Pi OS"
        )
    return f"no TFLite runtime is installed: run `{install_command(_edge_extra())}`"


def _edge_extra() -> str:
    return "pi32" if is_32_bit() else "pi"


def _source_folder() -> tuple[Path, bool] | None:
    """The source folder of the current installation and whether it is editable; None if the folder does not exist."""
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import unquote, urlsplit

    try:
        record = json.loads(distribution("ekd").read_text("direct_url.json") or "{}")
        folder = Path(unquote(urlsplit(record["url"]).path))
    except (PackageNotFoundError, ValueError, KeyError, TypeError):
        return None
    editable = bool(record.get("dir_info", {}).get("editable", False))
    return (folder, editable) if (folder / "pyproject.toml").is_file() else None


def _folder_of(package: str) -> Path | None:
    spec = PathFinder.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) if places else None


def _modules_being_imported(error: BaseException) -> list[str]:
    """Names of the modules that were being imported: causes before effects, and the innermost module first."""
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None:
        chain.append(at)
        at = at.__cause__ or at.__context__
    names = []
    for each in reversed(chain):
        frames, trace = [], each.__traceback__
        while trace is not None:
            frames.append(str(trace.tb_frame.f_globals.get("__name__", "")))
            trace = trace.tb_next
        names += [*([each.name] if isinstance(each, ImportError) and each.name else []), *reversed(frames)]
    return names


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
