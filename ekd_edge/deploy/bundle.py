"""Packs one archive that installs ekd-edge, a model and its service on a Raspberry Pi without a network."""

import json
import re
import tarfile
import unicodedata
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from ekd_edge.atomic_files import cannot_write, pending_file
from ekd_edge.deploy.pi_os import PiOs
from ekd_edge.deploy.wheels import EXTRA, Wheel, gather_wheels, own_wheel
from ekd_edge.errors import ConfigError
from ekd_edge.model.file import ModelFile
from firmware_bridge.dependencies import require_packages
from firmware_bridge.printable import printable

__all__ = ["Bundle", "make_bundle"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A written archive. wheels: (name, version) of each package in it."""

    path: Path
    size_bytes: int
    wheels: tuple[tuple[str, str], ...]


def make_bundle(
    path: Path,
    target: PiOs,
    model_file: ModelFile,
    options: str = "--port auto --wait --json",
    key: Path | None = None,
    wheel: Path | None = None,
) -> Bundle:
    """Gather the wheels for `target` and pack them with the model, a systemd unit, its settings and an installer.

    Args:
        path: of the archive.
        target: the system that it installs on.
        model_file: the model.
        options: of ekd-edge as a service.
        key: the public key that models must be signed by.
        wheel: ekd's own wheel; None builds it from the ekd that runs.

    Returns:
        The archive.

    Raises:
        ConfigError: a wheel cannot be fetched or built, or the archive cannot be written. No archive is left then.
    """
    require_packages("ekd-edge bundle", "packaging", "pip")
    if wheel is not None and not wheel.is_file():
        raise ConfigError(f"{wheel} is not a file: name ekd's wheel with --wheel")
    with TemporaryDirectory() as folder:
        fetched = Path(folder) / "wheels"
        fetched.mkdir()
        wheels = gather_wheels(target, wheel or own_wheel(Path(folder)), fetched)
        contents = _contents(target, model_file, options, key, wheels)
        contents["bundle.json"] = _about(target, model_file, contents, wheels)
        _write(path, f"ekd-{target.name}", contents)
    named = tuple((each.name, each.version) for each in wheels)
    return Bundle(path, path.stat().st_size, named)


def _contents(
    target: PiOs, model_file: ModelFile, options: str, key: Path | None, wheels: tuple[Wheel, ...]
) -> dict[str, bytes]:
    """The contents of each file, by its name in the archive."""
    settings = [
        "# Settings of ekd-edge.service. A newer bundle does not overwrite this file.",
        f"EKD_MODEL={_setting(f'@FOLDER@/{model_file.path.name}')}",
        f"EKD_OPTIONS={_setting(options)}",
    ]
    contents = {f"wheels/{wheel.path.name}": wheel.path.read_bytes() for wheel in wheels}
    contents[model_file.path.name] = model_file.path.read_bytes()
    if key is not None:
        settings.append("EKD_TRUST=@FOLDER@/trust.pub")
        contents["trust.pub"] = key.read_bytes()
    here = files("ekd_edge.deploy")
    contents["install.py"] = (here / "offline_install.py").read_bytes()
    contents["ekd-edge.service"] = (here / "ekd-edge.service").read_bytes()
    contents["ekd-edge.env"] = "".join(f"{line}\n" for line in settings).encode()
    pinned = [_pin(wheel) for wheel in wheels if wheel.name != "pip"]
    contents["requirements.txt"] = "".join(f"{line}\n" for line in pinned).encode()
    return contents


def _setting(value: str) -> str:
    """A value as a systemd environment file has it. Raises ConfigError for control characters, such as a line break."""
    if any(unicodedata.category(character).startswith("C") for character in value):
        raise ConfigError(f"{printable(value)!r} has a line break or another control character: write it on one line")
    if re.fullmatch(r"[\w@:/.,=+ -]*", value) and value == value.strip():
        return value
    return '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'


def _pin(wheel: Wheel) -> str:
    extra = f"[{EXTRA}]" if wheel.name == "ekd" else ""
    return f"{wheel.name}{extra}=={wheel.version} --hash=sha256:{wheel.sha256}"


def _about(target: PiOs, model_file: ModelFile, contents: dict[str, bytes], wheels: tuple[Wheel, ...]) -> bytes:
    (ekd,) = [wheel.version for wheel in wheels if wheel.name == "ekd"]
    about = {
        "ekd": ekd,
        "system": target.title,
        "machine": target.machine,
        "python": target.python_version,
        "model": model_file.path.name,
        "files": {name: sha256(data).hexdigest() for name, data in sorted(contents.items())},
    }
    return (json.dumps(about, indent=1) + "\n").encode()


def _write(path: Path, folder: str, contents: dict[str, bytes]) -> None:
    """Write the archive in one step, uncompressed: wheels are compressed already."""

    def write(file: BinaryIO) -> None:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name, data in sorted(contents.items()):
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mode = len(data), 0o644
                archive.addfile(entry, BytesIO(data))

    try:
        with pending_file(path, write) as commit:
            commit()
    except OSError as error:
        raise ConfigError(cannot_write(path, error)) from error
