"""The Shimmer3 GSR+ unit: packets, decoder, emulator."""
