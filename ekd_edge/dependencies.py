"""What is installed under ekd, and why it cannot be loaded: read from the files, before numpy is there to help."""

import platform
import sys
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = [
    "PACKAGES",
    "explain_import_error",
    "explain_no_runtime",
    "is_32_bit",
    "processor_of",
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


def explain_import_error(error: ImportError) -> str | None:
    """What to do about it, in a sentence, where a package of `PACKAGES` is at fault; None where none is."""
    for name in _modules_on_the_way(error):
        package = name.partition(".")[0]
        if package in PACKAGES:
            return why_not_loaded(package, error)
    return None


def why_not_loaded(package: str, error: ImportError | OSError) -> str:
    """Why a package of `PACKAGES` could not be imported, and what to do about it, in a sentence."""
    name = PACKAGES[package]
    folder = _folder_of(package)
    if folder is None:
        return f"{name} is not installed: run `pip install '{_extra()}'`"
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
    return f"no TFLite runtime is installed: run `pip install '{_extra()}'`"


def _extra() -> str:
    return "ekd[pi32]" if is_32_bit() else "ekd[pi]"


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
