"""Seeed Grove GSR with Seeed's example sketch."""
