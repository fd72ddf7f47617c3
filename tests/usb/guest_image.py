"""The image of a guest: Debian's kernel for arm64, and one initramfs with Debian and ekd's dependencies on a Pi.

Both are kept in `trees.cache_folder()` and built again where the wanted packages change. ekd itself is not in it.
"""

import compileall
import stat
import tempfile
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final
from zipfile import ZipFile

from filelock import FileLock

from ekd_edge.deploy.pi_os import pi_os
from ekd_edge.deploy.wheels import EXTRA, gather_wheels, own_wheel
from tests.pi.trees import ARM64_12, cache_folder, extract

__all__ = ["SITE", "Image", "make_image"]

SITE: Final = "/site"
"""The folder of ekd's dependencies in the guest."""

_PROJECT: Final = Path(__file__).parents[2] / "pyproject.toml"
_PACKAGES: Final = (
    *("busybox-static", "dbus", "kmod", "libpam-systemd", "linux-image-arm64", "systemd", "udev", "util-linux"),
)
_DEBIAN: Final = replace(ARM64_12, name="debian-12-arm64-guest", packages=_PACKAGES)
_MODULES: Final = ("usb", "virtio", "char")
"""Of the kernel's drivers; the rest of them is larger than all else."""
_LEFT_OUT: Final = ("boot", "usr/lib/linux-image-", "usr/share/doc", "usr/share/locale", "usr/share/man")
_INIT: Final = """\
#!/bin/dash
export PATH=/usr/sbin:/usr/bin
cp /usr/share/base-passwd/passwd.master /etc/passwd
cp /usr/share/base-passwd/group.master /etc/group
sed -i -E 's/^(adm|dialout):.*/&pi/' /etc/group
echo 'pi:x:1000:1000::/home/pi:/bin/sh' >> /etc/passwd
echo 'pi:x:1000:' >> /etc/group
install -d -o 1000 -g 1000 /home/pi
echo 0123456789abcdef0123456789abcdef > /etc/machine-id
systemd-sysusers
depmod
exec /lib/systemd/systemd
"""
"""Steps of the package installation that extraction leaves out; the user pi is in the same groups as on a Pi."""

_SHELL: Final = """\
[Service]
Environment=HOME=/root
ExecStart=dash -c 'exec dash <> /dev/virtio-ports/shell >&0 2> /dev/console'
"""
"""Listens to the host."""

_NO_LOGINS: Final = "".join(f"{each} required pam_deny.so\n" for each in ("auth", "account", "password", "session"))
_RULE: Final = 'SUBSYSTEM=="virtio-ports", TAG+="systemd", ENV{SYSTEMD_WANTS}="shell.service"\n'
_FILES: Final = {
    "init": (_INIT, 0o755),
    "etc/pam.d/other": (_NO_LOGINS, 0o644),
    "etc/pam.d/common-account": ("account required pam_permit.so\n", 0o644),
    "etc/pam.d/common-session-noninteractive": ("session required pam_permit.so\n", 0o644),
    "etc/systemd/system/shell.service": (_SHELL, 0o644),
    "etc/udev/rules.d/90-shell.rules": (_RULE, 0o644),
}


@dataclass(frozen=True, slots=True)
class Image:
    """Files that qemu takes as -kernel and -initrd."""

    kernel: Path
    initramfs: Path


def make_image() -> Image:
    """The image, from the cache where it is there.

    Raises AssertionError where packages of Debian cannot be had, ConfigError where wheels cannot.
    """
    tree = extract(_DEBIAN)
    (kernel,) = tree.glob("boot/vmlinuz-*")
    initramfs = cache_folder() / "guest.cpio"
    made_of = initramfs.with_suffix(".made-of")
    project = tomllib.loads(_PROJECT.read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"][EXTRA]]
    state = "\n".join([kernel.name, *_PACKAGES, *wanted, Path(__file__).read_text()])
    with FileLock(initramfs.with_suffix(".lock")), tempfile.TemporaryDirectory() as folder:
        if not made_of.exists() or made_of.read_text() != state:
            made_of.unlink(missing_ok=True)
            site = _installed(Path(folder))
            # Compiling takes an emulated processor long.
            for each in (site, tree / "usr/lib/python3.11"):
                compileall.compile_dir(each, quiet=2, workers=0)
            with initramfs.open("wb") as file:
                _write_cpio(file, tree, site)
            made_of.write_text(state)
    return Image(kernel, initramfs)


def _installed(folder: Path) -> Path:
    """The packages that a Pi would install, without ekd and pip."""
    site, wheels = folder / "site", folder / "wheels"
    for wheel in gather_wheels(pi_os("12"), own_wheel(folder), wheels):
        if wheel.name not in ("ekd", "pip"):
            with ZipFile(wheel.path) as archive:
                archive.extractall(site)
    return site


def _write_cpio(file: BinaryIO, tree: Path, site: Path) -> None:
    """An archive of the kind that the kernel unpacks at its start."""
    for path in sorted(tree.rglob("*")):
        inside = path.relative_to(tree)
        if _is_wanted(str(inside)):
            _write_entry(file, path, str(inside))
    for name, (text, mode) in _FILES.items():
        file.write(_header(name, stat.S_IFREG | mode, len(text)) + _padded(text.encode()))
    for path in [site, *sorted(site.rglob("*"))]:
        _write_entry(file, path, str(SITE.lstrip("/") / path.relative_to(site)))
    file.write(_header("TRAILER!!!", 0, 0))


def _is_wanted(inside: str) -> bool:
    if inside.startswith(_LEFT_OUT):
        return False
    return not inside.endswith(".ko") or any(f"/drivers/{folder}/" in inside for folder in _MODULES)


def _write_entry(file: BinaryIO, path: Path, name: str) -> None:
    status = path.lstat()
    if stat.S_ISREG(status.st_mode):
        data = path.read_bytes()
    else:
        data = str(path.readlink()).encode() if path.is_symlink() else b""
    file.write(_header(name, status.st_mode, len(data), int(status.st_mtime)) + _padded(data))


def _header(name: str, mode: int, size: int, mtime_s: int = 0) -> bytes:
    known = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, mtime_s, size, 0, 0, 0, 0, len(known), 0)
    return _padded(b"070701" + b"".join(b"%08X" % field for field in fields) + known)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
