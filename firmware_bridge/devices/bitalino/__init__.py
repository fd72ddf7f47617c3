"""The BITalino board with its EDA sensor: frames, decoder, emulator."""
