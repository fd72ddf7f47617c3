"""Reads skin-conductance sensors on serial ports and emulates them on pseudo-terminals.

    import firmware_bridge

    with firmware_bridge.open_device("/dev/ttyUSB0") as device:
        for block in device.blocks():
            print(block.first_index, block.values)

    with firmware_bridge.emulate("bitalino", seconds=60) as emulated:
        print(emulated.path)
        emulated.wait()

Public names are imported on first use, so `import firmware_bridge` does not load numpy.
"""

from typing import TYPE_CHECKING

from firmware_bridge.lazy import lazy_names

if TYPE_CHECKING:
    from firmware_bridge.api import emulate
    from firmware_bridge.devices.registry import DeviceFormat
    from firmware_bridge.devices.stream import RawBlock, StreamOptions
    from firmware_bridge.emulation.pty import PtyDevice
    from firmware_bridge.errors import ConfigError, EkdError, FormatError, PortError, SignalError
    from firmware_bridge.serial_port.device import Device, open_device

    __version__: str

__all__ = [
    "ConfigError",
    "Device",
    "DeviceFormat",
    "EkdError",
    "FormatError",
    "PortError",
    "PtyDevice",
    "RawBlock",
    "SignalError",
    "StreamOptions",
    "__version__",
    "emulate",
    "open_device",
]

if not TYPE_CHECKING:
    _ERRORS = ("ConfigError", "EkdError", "FormatError", "PortError", "SignalError")
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            **dict.fromkeys(_ERRORS, "firmware_bridge.errors"),
            "Device": "firmware_bridge.serial_port.device",
            "DeviceFormat": "firmware_bridge.devices.registry",
            "PtyDevice": "firmware_bridge.emulation.pty",
            "RawBlock": "firmware_bridge.devices.stream",
            "StreamOptions": "firmware_bridge.devices.stream",
            "emulate": "firmware_bridge.api",
            "open_device": "firmware_bridge.serial_port.device",
        },
    )
