"""Sensor devices: one folder a device (decoder, emulator, frames), their detection and their registry."""
