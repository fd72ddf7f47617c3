"""Sweeps: plan, cells, workers on this machine or on a Ray cluster."""
