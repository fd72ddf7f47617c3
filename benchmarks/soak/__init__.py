"""A week of a sensor, simulated, and the faults injected into it."""
