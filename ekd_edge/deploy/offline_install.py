"""Install ekd-edge on a Raspberry Pi from the folder that contains this file, without a network.

    python3 install.py [--to ~/ekd] [--service]

`ekd-edge bundle` packs this file as install.py. It needs only Python's standard library: neither pip nor the package
python3-venv. Settings of an earlier installation are kept; an older version is updated.
"""

from __future__ import annotations  # an older Python must get as far as `misfit`

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Check, install and print the next steps. Returns 2 for a fault, with one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="install.py", description="Install ekd-edge from this folder.")
    parser.add_argument("--to", metavar="FOLDER", type=Path, default=Path("~/ekd"), help="default: ~/ekd")
    parser.add_argument("--service", action="store_true", help="install a systemd service of this user too")
    options = parser.parse_args(argv)
    here = Path(__file__).resolve().parent
    try:
        bundle = json.loads((here / "bundle.json").read_text(encoding="utf-8"))
        fault = misfit(bundle) or damaged(bundle, here)
        if fault is None:
            fault = install(bundle, here, options.to.expanduser().absolute(), options.service)
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # RuntimeError: there is no home folder
        fault = f"cannot install from {here}: {error}"
    if fault is not None:
        print(f"install.py: {fault}", file=sys.stderr)
        return 2
    return 0


def misfit(bundle: dict[str, Any]) -> str | None:
    """The difference between the bundle's system and this machine or Python; None where they match."""
    python = "{}.{}".format(*sys.version_info[:2])
    machine = f"{platform.machine()}, 32-bit Python" if sys.maxsize < 2**32 else platform.machine()
    if (machine, python) == (bundle["machine"], bundle["python"]):
        return None
    return (
        f"this bundle is for {bundle['system']} ({bundle['machine']}, Python {bundle['python']}), and this is "
        f"{machine}, Python {python}: use a bundle that `ekd-edge bundle --os` made for this system"
    )


def damaged(bundle: dict[str, Any], here: Path) -> str | None:
    """The first file of the bundle that is missing or changed, as a sentence; None where all files are intact."""
    for name, sha256 in bundle["files"].items():
        file = here / name
        if not file.is_file():
            return f"{file} is missing: copy and unpack the bundle again"
        if hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
            return f"{file} is damaged: copy and unpack the bundle again"
    return None


def unusable(folder: Path) -> str | None:
    """A sentence if systemd would read the name of the folder as something else, None for any other folder."""
    found = sorted({character for character in str(folder) if character in "\"'\\$@" or not character.isprintable()})
    if not found:
        return None
    return f"the folder {str(folder)!r} has the characters {' '.join(map(repr, found))}: choose another one with --to"


def unit_text(template: str, folder: Path) -> str:
    """The systemd unit for an installation in the folder, whose name may have spaces and %."""
    name = str(folder).replace("%", "%%")
    program = f"{name}/bin/ekd-edge"
    quoted = f'"{program}"' if " " in program else program
    return template.replace("@PROGRAM@", quoted).replace("@FOLDER@", name)


def install(bundle: dict[str, Any], here: Path, folder: Path, service: bool) -> str | None:
    """Install into `folder`. Returns the error as a sentence, None on success."""
    if (fault := unusable(folder)) is not None:
        return fault
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=False, symlinks=True)
    print(f"installing ekd {bundle['ekd']} and {len(bundle['files'])} files into {folder}", flush=True)
    (pip,) = (here / "wheels").glob("pip-*.whl")
    words = ["--isolated", "--quiet", "install", "--no-index", "--no-compile", "--require-hashes"]
    packages = ["--find-links", str(here / "wheels"), "--requirement", str(here / "requirements.txt")]
    done = subprocess.run([str(python), f"{pip}/pip", *words, *packages], check=False)
    if done.returncode:
        return "pip could not install: its messages are above"
    model = folder / bundle["model"]
    part = model.with_name(model.name + ".part")
    shutil.copy2(here / bundle["model"], part)
    part.replace(model)
    settings = folder / "ekd-edge.env"
    if not settings.exists():
        text = (here / "ekd-edge.env").read_text(encoding="utf-8")
        settings.write_text(text.replace("@FOLDER@", str(folder)), encoding="utf-8")
    if (here / "trust.pub").exists():
        shutil.copy2(here / "trust.pub", folder / "trust.pub")
    print(f"check it:      {folder}/bin/ekd-edge doctor --model {model}")
    if not service:
        print(f"run it:        {folder}/bin/ekd-edge --port auto --model {model}")
        return None
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    unit = config / "systemd" / "user" / "ekd-edge.service"
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_text(unit_text((here / unit.name).read_text(encoding="utf-8"), folder), encoding="utf-8")
    print(f"settings:      {settings}")
    print("start it:      systemctl --user daemon-reload && systemctl --user enable --now ekd-edge")
    print("start at boot: sudo loginctl enable-linger $USER")
    return None


if __name__ == "__main__":
    sys.exit(main())
