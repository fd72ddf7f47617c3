"""The sensor's firmware: building, flashing and running it in a simulated chip. Its C sources are in `csrc/`."""
