"""A simulated week of a sensor with injected faults."""
