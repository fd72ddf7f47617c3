"""ekd's own firmware: frames, decoder, emulator and the golden vectors `frames.json`."""
