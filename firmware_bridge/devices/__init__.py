"""Sensor devices: one folder per device (decoder, emulator, frames), format detection and the registry."""
