"""Sensors with ekd's firmware: frames, decoder, emulator and the golden vectors `frames.json`."""
