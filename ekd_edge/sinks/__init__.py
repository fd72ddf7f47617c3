"""Sinks of predictions: JSON lines, the terminal, bounded queues in front of slow readers."""
