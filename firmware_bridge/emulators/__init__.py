"""One module a device: a waveform in, the bytes of that device out, and its answers to the host."""
