"""Building, flashing and simulating the sensor's firmware. Its C sources are in `csrc/`."""
