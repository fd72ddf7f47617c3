"""Gathers the wheels that pip would install with ekd's extra `pi` on a Raspberry Pi, on another machine.

pip downloads wheels for another system, but evaluates environment markers for this one. The download is therefore
checked with the markers of the target system: missing requirements are downloaded too, and superfluous wheels are
dropped.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, PathDistribution, distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname
from zipfile import BadZipFile
from zipfile import Path as ZipPath

from ekd_edge.deploy.pi_os import PiOs
from ekd_edge.errors import ConfigError

__all__ = ["EXTRA", "Wheel", "gather_wheels", "own_wheel"]

EXTRA = "pi"
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel. name: normalized. requires: its requirements (PEP 508)."""

    path: Path
    name: str
    version: str
    requires: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def gather_wheels(target: PiOs, ekd: Path, folder: Path) -> tuple[Wheel, ...]:
    """Download ekd's wheel, the requirements of its extra `pi`, and pip.

    Args:
        target: the system that the wheels are for.
        ekd: ekd's own wheel.
        folder: where the wheels are put.

    Returns:
        The wheels.

    Raises:
        ConfigError: a requirement cannot be downloaded, or has no wheel for `target`.
    """
    wanted = [f"{ekd}[{EXTRA}]", "pip"]
    for _ in range(_ROUNDS):
        _fetch(target, wanted, folder)
        wheels = {wheel.name: wheel for wheel in map(_read, sorted(folder.glob("*.whl")))}
        needed, missing = _closure(target, wheels, {"ekd": {EXTRA}, "pip": set()})
        if not missing:
            for name in wheels.keys() - needed:
                wheels.pop(name).path.unlink()
            return tuple(wheels.values())
        wanted += sorted(missing)
    raise ConfigError(f"the requirements of ekd[{EXTRA}] on {target.title} cannot be resolved: {', '.join(wanted)}")


def own_wheel(folder: Path) -> Path:
    """The wheel of the ekd that runs here: built from its source tree, found, or downloaded into `folder`.

    Raises ConfigError where that fails.
    """
    try:
        installed = distribution("ekd")
    except PackageNotFoundError as error:
        raise ConfigError("ekd is not installed here, so its wheel cannot be built: name one with --wheel") from error
    origin: dict[str, Any] = json.loads(installed.read_text("direct_url.json") or "{}")
    place = urlsplit(origin.get("url", ""))
    source = Path(url2pathname(place.path)) if place.scheme == "file" else None
    if source is not None and source.suffix == ".whl":
        if not source.exists():
            raise ConfigError(f"{source}, from which ekd was installed, is gone: name its wheel with --wheel")
        return source
    what = f"ekd=={installed.version}" if source is None else str(source)
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), what)
    return next(folder.glob("ekd-*.whl"))


def _fetch(target: PiOs, wanted: Iterable[str], folder: Path) -> None:
    platforms = [word for platform in target.platforms for word in ("--platform", platform)]
    _pip(
        "download", "--only-binary=:all:", "--implementation", "cp", "--python-version", target.python_version,
        *platforms, "--dest", str(folder), *wanted,
    )  # fmt: skip


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        why = errors[-1] if errors else (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConfigError(f"pip {words[0]} failed: {why}")


def _read(path: Path) -> Wheel:
    from packaging.utils import canonicalize_name

    try:
        root = ZipPath(path)
        (about,) = [entry for entry in root.iterdir() if entry.name.endswith(".dist-info")]
        found = PathDistribution(about)
        return Wheel(path, canonicalize_name(found.metadata["Name"]), found.version, tuple(found.requires or ()))
    except (BadZipFile, OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} is not a wheel: {error}") from error


def _closure(target: PiOs, wheels: Mapping[str, Wheel], roots: Mapping[str, set[str]]) -> tuple[set[str], set[str]]:
    """Names of the wheels that the roots (with their extras) need, and requirements that no wheel meets."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    todo = [(name, extra) for name, extras in roots.items() for extra in ("", *extras)]
    seen: set[tuple[str, str]] = set()
    missing: set[str] = set()
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        name, extra = at
        for text in wheels[name].requires:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is not None and not marker.evaluate({**target.markers, "extra": extra}):
                continue
            needed = canonicalize_name(requirement.name)
            wheel = wheels.get(needed)
            if wheel is None or not requirement.specifier.contains(wheel.version, prereleases=True):
                missing.add(f"{requirement.name}{requirement.specifier}")
                continue
            todo += [(needed, each) for each in ("", *map(canonicalize_name, requirement.extras))]
    return {name for name, _ in seen}, missing
