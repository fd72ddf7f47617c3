"""A bundle installs on a Raspberry Pi's systems without a network, with only Python's standard library."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pi.trees import Installed, Tree

PYTHON = "/root/ekd/bin/python"
EDGE = "/root/ekd/bin/ekd-edge"


def test_bundle_installs_offline_and_prints_the_next_steps(installed: Installed, number: str) -> None:
    tree = installed(number)
    assert tree.run(EDGE, "--version").stdout.startswith("ekd ")
    unit = tree.inside("/root/.config/systemd/user/ekd-edge.service").read_text()
    assert "ExecStart=/root/ekd/bin/ekd-edge $EKD_OPTIONS" in unit
    assert "EKD_MODEL=/root/ekd/student-int8.tflite" in tree.inside("/root/ekd/ekd-edge.env").read_text()


def test_imports_of_the_edge_are_installed(installed: Installed, number: str) -> None:
    names = "numpy, serial, cobs.cobs, ai_edge_litert.interpreter, cryptography"
    edge = "ekd_edge.cli.predict, ekd_edge.service.session, ekd_export.cli.evaluate, firmware_bridge.cli.main"
    done = installed(number).run(PYTHON, "-W", "error", "-c", f"import {names}, {edge}")
    assert done.returncode == 0, done.stderr


def test_pip_on_the_pi_resolves_to_the_same_packages(installed: Installed, number: str) -> None:
    """pip, in the tree and with a network, resolves `ekd[pi]` to the packages of the bundle."""
    tree = installed(number)
    wheels = {path.name for path in tree.inside(f"/root/ekd-pi-os-{number}/wheels").glob("*.whl")}
    (pip,) = [name for name in wheels if name.startswith("pip-")]
    (ekd,) = [name for name in wheels if name.startswith("ekd-")]
    folder = f"/root/ekd-pi-os-{number}/wheels"
    tree.put(Path("/etc/resolv.conf"), "/etc/resolv.conf")
    done = tree.run(
        PYTHON, f"{folder}/{pip}/pip", "install", "--quiet", "--dry-run", "--ignore-installed",
        "--report", "/root/report.json", f"{folder}/{ekd}[pi]", environment=_network(tree), network=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(tree.inside("/root/report.json").read_text())
    taken = {Path(each["download_info"]["url"]).name for each in report["install"]}
    assert taken == wheels - {pip}


def _network(tree: Tree) -> dict[str, str]:
    """The package index and certificates of this machine's pip, for pip in the tree."""
    more = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or "proxy" in name.lower()}
    words = [sys.executable, "-m", "pip", "config", "get", "global.cert"]
    found = subprocess.run(words, capture_output=True, text=True)
    certificates = os.environ.get("PIP_CERT") or found.stdout.strip()
    if certificates:
        tree.put(Path(certificates), "/root/certificates.pem")
        more["PIP_CERT"] = "/root/certificates.pem"
    more.pop("PIP_FIND_LINKS", None)
    return more


def test_second_bundle_keeps_the_settings(installed: Installed) -> None:
    tree = installed("13")
    settings = tree.inside("/root/ekd/ekd-edge.env")
    kept = settings.read_text().replace("--port auto", "--port usb:0403:6001")
    settings.write_text(kept)
    done = tree.run("python3", "/root/ekd-pi-os-13/install.py")
    assert done.returncode == 0, done.stderr
    assert settings.read_text() == kept
    assert tree.run(EDGE, "--version").returncode == 0


def test_bundle_for_another_system_is_refused(unpacked: Installed) -> None:
    tree = unpacked("12")
    about = tree.inside("/root/ekd-pi-os-12/bundle.json")
    about.write_text(about.read_text().replace('"python": "3.11"', '"python": "3.13"'))
    done = tree.run("python3", "/root/ekd-pi-os-12/install.py")
    assert done.returncode == 2
    assert "(aarch64, Python 3.13), and this is aarch64, Python 3.11: use a bundle" in done.stderr
    assert not tree.inside("/root/ekd").exists()


@pytest.mark.parametrize("harm", ["damaged", "missing"])
def test_incomplete_bundle_is_refused(unpacked: Installed, harm: str) -> None:
    tree = unpacked("12")
    (numpy,) = tree.inside("/root/ekd-pi-os-12/wheels").glob("numpy-*.whl")
    if harm == "missing":
        numpy.unlink()
    else:
        numpy.write_bytes(numpy.read_bytes()[:-1000])
    done = tree.run("python3", "/root/ekd-pi-os-12/install.py")
    assert done.returncode == 2
    assert f"{numpy.name} is {harm}: copy and unpack the bundle again" in done.stderr
    assert "Traceback" not in done.stderr
    assert not tree.inside("/root/ekd").exists()
