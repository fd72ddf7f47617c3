"""The Raspberry Pi systems that bundles are made for, with the properties that decide which wheels fit."""

from dataclasses import dataclass

from ekd_edge.errors import ConfigError

__all__ = ["PI_OSES", "PiOs", "pi_os"]

_OLDEST_GLIBC_MINOR = 17


@dataclass(frozen=True, slots=True)
class PiOs:
    """One system. python: (major, minor). glibc_minor: of its C library 2.x. Debian of the same number is equal."""

    name: str
    title: str
    python: tuple[int, int]
    glibc_minor: int
    machine: str = "aarch64"

    @property
    def python_version(self) -> str:
        """For example 3.11."""
        return ".".join(map(str, self.python))

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platform tags of wheels that run on the system (PEP 600), newest first."""
        minors = range(self.glibc_minor, _OLDEST_GLIBC_MINOR - 1, -1)
        return (*(f"manylinux_2_{minor}_{self.machine}" for minor in minors), f"manylinux2014_{self.machine}")

    @property
    def markers(self) -> dict[str, str]:
        """The environment of the system, for markers of requirements (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python_version}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python_version}.0",
            "python_version": self.python_version,
            "sys_platform": "linux",
        }


PI_OSES = {
    "12": PiOs("pi-os-12", "64-bit Raspberry Pi OS 12 (Bookworm)", (3, 11), 36),
    "13": PiOs("pi-os-13", "64-bit Raspberry Pi OS 13 (Trixie)", (3, 13), 41),
}


def pi_os(number: str) -> PiOs:
    """The system with that number. Raises ConfigError where no bundle can be made for it."""
    if number not in PI_OSES:
        raise ConfigError(
            f"no bundle can be made for Raspberry Pi OS {number}: choose {' or '.join(PI_OSES)}, both of 64 bits (a "
            "32-bit one takes numpy from apt)"
        )
    return PI_OSES[number]
