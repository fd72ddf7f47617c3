"""The packages that ekd stands on: whether each is installed, why it does not load, and the command that installs it.

Read from the files, so that it works where numpy does not load.
"""

import json
import platform
import sys
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from firmware_bridge.errors import ConfigError

__all__ = [
    "PACKAGES",
    "explain_import_error",
    "explain_no_runtime",
    "install_command",
    "is_32_bit",
    "processor_of",
    "require_packages",
    "version_line",
    "version_of",
    "why_not_loaded",
]

PACKAGES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "serial": "pyserial",
    "cobs": "cobs",
    "ai_edge_litert": "ai-edge-litert",
    "tflite_runtime": "tflite-runtime",
    "cryptography": "cryptography",
}
"""Import names of the packages that ekd-edge stands on, and the names under which they are installed."""

_OPTIONAL = {
    "torch": ("torch", "train"),
    "safetensors": ("safetensors", "train"),
    "rich": ("rich", "train"),
    "matplotlib": ("matplotlib", "train"),
    "defusedxml": ("defusedxml", "train"),
    "mne": ("mne", "bridges"),
    "pandas": ("pandas", "bridges"),
    "litert_torch": ("litert-torch", "export"),
    "ai_edge_quantizer": ("ai-edge-quantizer", "export"),
    "edfio": ("edfio", "edf"),
    "packaging": ("packaging", "bundle"),
    "pip": ("pip", "bundle"),
    "onnx": ("onnx", "onnx"),
    "onnxscript": ("onnxscript", "onnx"),
    "onnxruntime": ("onnxruntime", "onnx"),
    "tflite_micro": ("tflite-micro", "micro"),
    "ray": ("ray", "cluster"),
    "shtab": ("shtab", "completion"),
}
"""Import names of optional packages: the name each is installed under, and the extra of ekd that brings it."""

_PROCESSORS = {3: "32-bit x86", 40: "32-bit ARM", 62: "x86-64", 183: "64-bit ARM", 243: "RISC-V"}
_ELF_MACHINE = slice(18, 20)


def version_line() -> str:
    """ekd's version, Python's and the processor's."""
    return f"ekd {version_of('ekd') or 'not installed'}, Python {platform.python_version()}, {platform.machine()}"


def version_of(name: str) -> str | None:
    """The installed version of a package, by the name it is installed under."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def is_32_bit() -> bool:
    """Whether this Python is; the kernel under it may still be of 64 bits and say aarch64."""
    return sys.maxsize < 2**32


def processor_of(file: Path) -> str | None:
    """The processor that an executable or a library was built for; None for another kind of file."""
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
    """The shell command that installs ekd with an extra, from the folder that this ekd was installed from."""
    source = _source_folder()
    if source is None:
        return f"pip install './ekd[{extra}]'"
    folder, editable = source
    return f"pip install {'-e ' if editable else ''}'{folder}[{extra}]'"


def require_packages(purpose: str, *packages: str) -> None:
    """Check that optional packages are installed, without importing them.

    Args:
        purpose: what needs them, the subject of the sentence, such as "--onnx".
        packages: import names, each a key of the tables above.

    Raises:
        ConfigError: names the packages that are missing and the command that installs them.
    """
    missing = [package for package in packages if PathFinder.find_spec(package) is None]
    if missing:
        names = " and ".join(_OPTIONAL[package][0] for package in missing)
        is_or_are = "is" if len(missing) == 1 else "are"
        extra = _OPTIONAL[missing[0]][1]
        raise ConfigError(f"{purpose} needs {names}, which {is_or_are} not installed: run `{install_command(extra)}`")


def explain_import_error(error: ImportError) -> str | None:
    """Why a known package could not be imported and what to do about it, in a sentence; None for any other package."""
    for name in _modules_on_the_way(error):
        package = name.partition(".")[0]
        if package in PACKAGES:
            return why_not_loaded(package, error)
        if package in _OPTIONAL and PathFinder.find_spec(package) is None:
            name, extra = _OPTIONAL[package]
            return f"{name} is not installed: run `{install_command(extra)}`"
    return None


def why_not_loaded(package: str, error: ImportError | OSError) -> str:
    """Why a package of `PACKAGES` could not be imported, and what to do about it, in a sentence."""
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
        "make a new virtual environment where packages of several systems are mixed"
    )


def explain_no_runtime() -> str:
    """What to do where no TFLite runtime is installed, by what there is for this machine."""
    if platform.machine() == "armv6l":
        return "no TFLite runtime is made for this processor (ARMv6): ekd-edge needs a Pi 2, a Zero 2 or newer"
    if is_32_bit() and sys.version_info >= (3, 12):
        return (
            f"there is no TFLite runtime for a 32-bit Python {platform.python_version()}: install the 64-bit Raspberry "
            "Pi OS"
        )
    return f"no TFLite runtime is installed: run `{install_command(_edge_extra())}`"


def _edge_extra() -> str:
    return "pi32" if is_32_bit() else "pi"


def _source_folder() -> tuple[Path, bool] | None:
    """The folder that ekd was installed from, and whether as an editable install; None where it is not there."""
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


def _modules_on_the_way(error: BaseException) -> list[str]:
    """Names of the modules whose import was under way, the innermost first; of causes before effects."""
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
