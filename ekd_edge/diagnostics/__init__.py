"""Diagnostics of this machine: `doctor`, `bench` and the choice of a model."""
