"""A serial port and the conversation with its device: opening, finding, the device's clock, link health."""
