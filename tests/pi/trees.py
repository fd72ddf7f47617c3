"""Root trees of Debian for the processors of a Raspberry Pi, and running programs in them on this machine.

A tree is extracted, not installed: no maintainer script of a package runs. Programs in it run in a chroot of a user
namespace, where the kernel hands every foreign executable to qemu-user (binfmt_misc, Linux 6.7 or newer), so a process
in there may start others; nothing outside of the namespace changes. Each `Tree` writes to a layer of its own.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock

__all__ = [
    "ARM64_12",
    "ARM64_13",
    "ARMHF_12",
    "Debian",
    "Installed",
    "Tree",
    "cache_folder",
    "cannot_emulate",
    "extract",
    "qemu",
]

_BASE: Final = ("base-files", "base-passwd", "coreutils", "dash", "grep", "gzip", "libstdc++6", "python3", "sed", "tar")
_QEMU_SUITE: Final = "trixie"
"""qemu-user 10: static, so it runs anywhere; ai-edge-litert crashes under Debian 12's 7.2."""


@dataclass(frozen=True, slots=True)
class Debian:
    """The system to extract. elf: the class and machine bytes by which the kernel recognises its executables."""

    name: str
    suite: str
    architecture: str
    emulator: str
    elf: str
    packages: tuple[str, ...] = ()


_ELF64: Final = r":\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_ELF32: Final = r":\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00"
_MASK: Final = r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"

ARM64_12: Final = Debian("debian-12-arm64", "bookworm", "arm64", "qemu-aarch64", _ELF64)
ARM64_13: Final = Debian("debian-13-arm64", "trixie", "arm64", "qemu-aarch64", _ELF64)
ARMHF_12: Final = Debian(
    "debian-12-armhf",
    "bookworm",
    "armhf",
    "qemu-arm",
    _ELF32,
    ("python3-numpy", "python3-serial", "python3-cryptography"),
)


def cannot_emulate() -> str | None:
    """The reason why trees cannot be made or run here, in a sentence; None where they can."""
    if os.geteuid() != 0:
        return "trees of another processor are made and run by root"
    if shutil.which("mmdebstrap") is None:
        return "mmdebstrap is not here: apt install mmdebstrap"
    mount = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc"
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount], capture_output=True)
    if done.returncode:
        return "a user namespace cannot have emulators of its own here: Linux 6.7 or newer is needed"
    return None


def cache_folder() -> Path:
    """The folder of trees that are kept between runs: $EKD_PI_CACHE, else ~/.cache/ekd-pi."""
    return Path(os.environ.get("EKD_PI_CACHE") or Path.home() / ".cache" / "ekd-pi")


def extract(debian: Debian, packages: Sequence[str] = ()) -> Path:
    """The extracted tree, from the cache where it is there. Raises CalledProcessError where packages cannot be had."""
    wanted = sorted({*_BASE, *debian.packages, *packages})
    folder = cache_folder() / debian.name
    listed = folder.with_suffix(".packages")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not listed.exists() or listed.read_text() != "\n".join(wanted):
            listed.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            hooks = "/usr/share/mmdebstrap/hooks/merged-usr"
            _mmdebstrap(debian.architecture, debian.suite, folder, wanted, "--skip=check/qemu", f"--hook-dir={hooks}")
            _link_alternatives(folder)
            listed.write_text("\n".join(wanted))
    return folder


def qemu(emulator: str) -> Path:
    """The emulator, a static program."""
    program = cache_folder() / emulator
    program.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(program.with_suffix(".lock")):
        if not program.exists():
            folder = program.parent / "qemu-user"
            _mmdebstrap(_own_architecture(), _QEMU_SUITE, folder, ["qemu-user"])
            for each in {ARM64_12.emulator, ARMHF_12.emulator}:
                shutil.copy2(folder / "usr/bin" / each, program.with_name(each))
            shutil.rmtree(folder)
    return program


@dataclass(frozen=True, slots=True)
class Tree:
    """A root tree whose changes go to `layer`, a folder of its own.

    Files are handed over by `put`, and read from `inside` once no program runs.
    """

    debian: Debian
    lower: Path
    layer: Path

    @classmethod
    def over(cls, debian: Debian, layer: Path, packages: Sequence[str] = ()) -> "Tree":
        """A fresh layer in the (new or empty) folder `layer`."""
        for part in ("upper", "work", "root"):
            (layer / part).mkdir(parents=True)
        return cls(debian, extract(debian, packages), layer)

    def inside(self, path: str) -> Path:
        """The path, on this machine, of a file in the tree. path: inside the tree."""
        return self.layer / "upper" / path.lstrip("/")

    def put(self, source: Path, path: str) -> None:
        """Copy a file, or a folder, to `path` inside."""
        target = self.inside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)

    def command(self, *words: object, network: bool = False) -> list[str]:
        """The command line, for this machine, that runs `words` inside."""
        emulator = qemu(self.debian.emulator)
        register = f":ekd:M:{self.debian.elf}{_MASK}:{emulator}:F"
        spaces = ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        if not network:
            spaces.append("--net")
        lower, layer = str(self.lower), str(self.layer)
        return ["unshare", *spaces, "sh", "-c", _ENTER, "sh", register, lower, layer, *map(str, words)]

    def run(
        self,
        *words: object,
        environment: Mapping[str, str] | None = None,
        network: bool = False,
        timeout_s: float = 240,
    ) -> subprocess.CompletedProcess[str]:
        """The output and exit status of a program inside."""
        return subprocess.run(
            self.command(*words, network=network),
            env=self.environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Of programs inside: a Raspberry Pi 4's processor, and little else."""
        cpu = {"QEMU_CPU": "cortex-a72"} if self.debian.architecture == "arm64" else {}
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "HOME": "/root", "LANG": "C.UTF-8", **cpu, **(more or {})}


Installed = Callable[[str], Tree]
"""A function of the number of a Raspberry Pi's system that gives a tree of it."""

_ENTER: Final = """
set -e
register=$1 lower=$2 layer=$3; shift 3
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
printf %s "$register" > /proc/sys/fs/binfmt_misc/register
mount -t overlay -o "lowerdir=$lower,upperdir=$layer/upper,workdir=$layer/work,userxattr" none "$layer/root"
mkdir -p "$layer/root/proc" "$layer/root/dev"
mount --rbind /proc "$layer/root/proc"
mount --rbind /dev "$layer/root/dev"
exec chroot "$layer/root" "$@"
"""


def _mmdebstrap(architecture: str, suite: str, folder: Path, packages: Sequence[str], *more: str) -> None:
    words = [f"--arch={architecture}", "--variant=extract", f"--include={','.join(packages)}", *more, suite]
    mirror = [found] if (found := _mirror()) else []
    done = subprocess.run(["mmdebstrap", *words, str(folder), *mirror], capture_output=True, text=True)
    assert done.returncode == 0, f"{suite} for {architecture} could not be had: {done.stderr[-2000:]}"


def _mirror() -> str | None:
    """This machine's mirror of Debian, where it is a Debian."""
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    lines = subprocess.run(words, capture_output=True, text=True).stdout.split()
    return lines[0] if lines else None


def _own_architecture() -> str:
    return subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()


def _link_alternatives(folder: Path) -> None:
    """The links that update-alternatives would make of the libraries that numpy loads."""
    for name in ("blas", "lapack"):
        for library in folder.glob(f"usr/lib/*/{name}/lib{name}.so.3"):
            (library.parent.parent / library.name).symlink_to(f"{name}/{library.name}")
