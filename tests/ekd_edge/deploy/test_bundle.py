"""Bundles from small real wheels. The real ones are made and installed in tests/pi."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from ekd_edge.cli.main import main
from ekd_edge.deploy import bundle as bundle_module
from ekd_edge.deploy import offline_install
from ekd_edge.deploy.bundle import make_bundle
from ekd_edge.deploy.pi_os import PI_OSES, pi_os
from ekd_edge.deploy.wheels import gather_wheels, own_wheel
from ekd_edge.errors import ConfigError
from ekd_edge.model.file import load_model_file
from tests.helpers.paths import ROOT

TWELVE = PI_OSES["12"]


def wheel(folder: Path, name: str, *requires: str, version: str = "1.0", tag: str = "py3-none-any") -> Path:
    """A wheel that pip takes: a package of that name with an empty module."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    about = f"{name}-{version}.dist-info"
    extras = "Provides-Extra: pi\nProvides-Extra: fast\n"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extras}"
    metadata += "".join(f"Requires-Dist: {each}\n" for each in requires)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{about}/METADATA", metadata)
        archive.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, pip's only source of packages."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    wheel(tmp_path / "index", "pip")
    return tmp_path / "index"


def gathered(index: Path, folder: Path, *requires: str) -> set[str]:
    (folder / "wheels").mkdir(parents=True)
    found = gather_wheels(TWELVE, wheel(folder, "ekd", *requires), folder / "wheels")
    assert {each.path for each in found} == set((folder / "wheels").glob("*.whl"))
    return {f"{each.name} {each.version}" for each in found}


def test_requirements_of_the_extra_are_gathered_recursively(index: Path, tmp_path: Path) -> None:
    wheel(index, "base", "below>=2")
    wheel(index, "below", version="2.1")
    wheel(index, "runtime", tag="cp311-cp311-manylinux_2_28_aarch64")
    found = gathered(index, tmp_path / "a", "base", "runtime; extra == 'pi'", "never; extra == 'train'")
    assert found == {"ekd 1.0", "pip 1.0", "base 1.0", "below 2.1", "runtime 1.0"}


def test_markers_are_evaluated_for_the_target_system(index: Path, tmp_path: Path) -> None:
    """pip itself evaluates them for the machine that it runs on."""
    for name in ("there", "nowhere", "below", "fast", "old"):
        wheel(index, name, *(["below"] if name == "there" else []))
    found = gathered(
        index, tmp_path / "a", "there; platform_machine == 'aarch64'", "nowhere; platform_machine != 'aarch64'",
        "old; python_version < '3.12'", "nowhere; extra == 'fast'",
    )  # fmt: skip
    assert found == {"ekd 1.0", "pip 1.0", "there 1.0", "below 1.0", "old 1.0"}


def test_newest_wheel_for_the_target_is_taken(index: Path, tmp_path: Path) -> None:
    wheel(index, "base", version="1.0", tag="cp311-cp311-manylinux_2_17_aarch64")
    wheel(index, "base", version="2.0", tag="cp311-cp311-manylinux_2_40_aarch64")
    wheel(index, "base", version="3.0", tag="cp313-cp313-manylinux_2_17_aarch64")
    wheel(index, "base", version="4.0", tag="cp311-cp311-manylinux_2_17_x86_64")
    assert "base 1.0" in gathered(index, tmp_path / "a", "base")


def test_requirement_without_a_wheel_is_named(index: Path, tmp_path: Path) -> None:
    wheel(index, "base", tag="cp311-cp311-manylinux_2_17_x86_64")
    with pytest.raises(ConfigError, match=r"pip download failed: No matching distribution found for base"):
        gathered(index, tmp_path / "a", "base")


def test_own_wheel_contains_the_running_ekd(tmp_path: Path) -> None:
    with zipfile.ZipFile(own_wheel(tmp_path)) as archive:
        names = archive.namelist()
    assert {"ekd_edge/cli/main.py", "ekd_edge/deploy/ekd-edge.service", "firmware_bridge/devices/ekd/frame.py"} <= set(
        names
    )


@pytest.fixture
def bundle(index: Path, model_path: Path, tmp_path: Path) -> Path:
    """A bundle, unpacked."""
    ekd = wheel(tmp_path / "own", "ekd")
    (tmp_path / "key.pub").write_text("a key")
    path = tmp_path / "bundle.tar"
    made = make_bundle(path, TWELVE, load_model_file(model_path), "--port usb:1:2", tmp_path / "key.pub", ekd)
    assert made.size_bytes == path.stat().st_size
    assert made.wheels == (("ekd", "1.0"), ("pip", "1.0"))
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    return tmp_path / "unpacked" / "ekd-pi-os-12"


def test_bundle_contains_model_settings_and_hashes(bundle: Path, model_path: Path) -> None:
    assert (bundle / model_path.name).read_bytes() == model_path.read_bytes()
    assert "EKD_OPTIONS=--port usb:1:2\n" in (bundle / "ekd-edge.env").read_text()
    assert "EKD_TRUST=@FOLDER@/trust.pub\n" in (bundle / "ekd-edge.env").read_text()
    unit = (bundle / "ekd-edge.service").read_text().splitlines()
    # Without StandardError, systemd writes stderr to the file of stdout.
    assert {"StandardOutput=append:%h/predictions.jsonl", "StandardError=journal"} <= set(unit)
    assert {"UMask=0077", "NoNewPrivileges=yes", "ExecReload=/bin/kill -HUP $MAINPID"} <= set(unit)
    assert (bundle / "requirements.txt").read_text().startswith("ekd[pi]==1.0 --hash=sha256:")
    about = json.loads((bundle / "bundle.json").read_text())
    assert set(about["files"]) == {str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file()} - {
        "bundle.json"
    }
    assert (about["machine"], about["python"]) == ("aarch64", "3.11")


def test_installer_needs_only_python_and_refuses_other_machines(bundle: Path, tmp_path: Path) -> None:
    about = bundle / "bundle.json"
    about.write_text(about.read_text().replace("aarch64", "riscv64"))
    command = [sys.executable, "-I", "-S", str(bundle / "install.py"), "--to", str(tmp_path / "there")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "this bundle is for 64-bit Raspberry Pi OS 12 (Bookworm) (riscv64, Python 3.11)" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(("harm", "message"), [("missing", "is missing"), ("changed", "is damaged")])
def test_damaged_bundle_is_refused(bundle: Path, harm: str, message: str) -> None:
    about = json.loads((bundle / "bundle.json").read_text())
    assert offline_install.damaged(about, bundle) is None
    if harm == "missing":
        (bundle / "ekd-edge.env").unlink()
    else:
        (bundle / "ekd-edge.env").write_text("EKD_MODEL=/elsewhere\n")
    assert f"{bundle / 'ekd-edge.env'} {message}: copy and unpack" in (offline_install.damaged(about, bundle) or "")


def test_unknown_system_is_refused(capsys: pytest.CaptureFixture[str], model_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"choose 12 or 13, both of 64 bits"):
        pi_os("11")
    assert main(["bundle", "--os", "12-32", "--model", str(model_path)]) == 2
    assert "a 32-bit one takes numpy from apt" in capsys.readouterr().err


def test_failed_bundle_leaves_no_file(
    index: Path, model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ekd = wheel(tmp_path / "own", "ekd", "nowhere-to-be-had")
    words = [
        "bundle",
        "--os",
        "13",
        "--model",
        str(model_path),
        "--wheel",
        str(ekd),
        "-o",
        str(tmp_path / "out" / "b.tar"),
    ]
    assert main(words) == 2
    assert "No matching distribution found for nowhere-to-be-had" in capsys.readouterr().err
    (tmp_path / "own").joinpath(ekd.name).unlink()
    assert main(words) == 2
    assert "is not a file: name ekd's wheel" in capsys.readouterr().err
    assert main([*words[:-4], "--wheel", str(wheel(tmp_path / "own", "ekd")), *words[-2:]]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", PI_OSES)
def test_platform_tags_follow_the_glibc_version(number: str) -> None:
    target = pi_os(number)
    assert target.platforms[0] == f"manylinux_2_{target.glibc_minor}_aarch64"
    assert {"manylinux_2_17_aarch64", "manylinux2014_aarch64"} <= set(target.platforms)
    assert target.markers["python_version"] == target.python_version


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--port usb:1:2 --json", "EKD_OPTIONS=--port usb:1:2 --json"),
        ("--port '/dev/a,name=left hand'", "EKD_OPTIONS=\"--port '/dev/a,name=left hand'\""),
        ('--port "a\\,b" $X', 'EKD_OPTIONS="--port \\"a\\\\,b\\" \\$X"'),
        ("'a' b", "EKD_OPTIONS=\"'a' b\""),
    ],
)
def test_options_of_the_service_are_quoted(options: str, line: str, model_path: Path) -> None:
    contents = bundle_module._contents(TWELVE, load_model_file(model_path), options, None, ())
    assert line in contents["ekd-edge.env"].decode().splitlines()


@pytest.mark.parametrize("options", ["--json\nEKD_TRUST=", "a\x00b", "a\x1b[2J"])
def test_control_characters_in_options_are_refused(options: str, model_path: Path) -> None:
    with pytest.raises(ConfigError, match="write it on one line"):
        bundle_module._contents(TWELVE, load_model_file(model_path), options, None, ())


def test_unit_names_folders_with_spaces_and_percent_signs(tmp_path: Path) -> None:
    template = (Path(bundle_module.__file__).parent / "ekd-edge.service").read_text()
    lines = offline_install.unit_text(template, Path("/home/a b/100%")).splitlines()
    assert 'ExecStart="/home/a b/100%%/bin/ekd-edge" $EKD_OPTIONS' in lines
    assert "EnvironmentFile=/home/a b/100%%/ekd-edge.env" in lines
    plain = offline_install.unit_text(template, Path("/root/ekd")).splitlines()
    assert "ExecStart=/root/ekd/bin/ekd-edge $EKD_OPTIONS" in plain


@pytest.mark.parametrize("name", ['a"b', "a'b", "a\\b", "a$b", "a\nb", "@FOLDER@"])
def test_folder_that_systemd_would_misread_is_refused(name: str, tmp_path: Path) -> None:
    assert "choose another one with --to" in (offline_install.install({}, tmp_path, tmp_path / name, True) or "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize(("source", "exposure"), [("bundle", 6.5), ("docs", 2.0)])
def test_exposure_of_the_units_is_low(source: str, exposure: float, tmp_path: Path) -> None:
    """The exposure that `systemd-analyze security` computes; it assumes root for a unit of a user."""
    unit = tmp_path / "ekd-edge.service"
    if source == "bundle":
        template = (Path(bundle_module.__file__).parent / "ekd-edge.service").read_text()
        unit.write_text(offline_install.unit_text(template, Path("/home/pi/ekd")))
    else:
        page = (ROOT / "docs/how-to/run-unattended.md").read_text(encoding="utf-8")
        (text,) = re.findall(r"```ini\n(# /etc/systemd/system/ekd-edge.service.*?)```", page, re.DOTALL)
        unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(unit)], capture_output=True, text=True, timeout=300
    )
    assert "Unknown" not in done.stderr, done.stderr
    (found,) = re.findall(r"Overall exposure level for ekd-edge.service: ([0-9.]+)", done.stdout)
    assert float(found) <= exposure
