"""Seeed's Grove GSR sensor with Seeed's example sketch: decoder and emulator."""
