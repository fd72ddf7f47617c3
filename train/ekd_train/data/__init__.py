"""Recordings in, labeled windows out: the only part of training that `ekd-eval` needs (numpy and scipy)."""
