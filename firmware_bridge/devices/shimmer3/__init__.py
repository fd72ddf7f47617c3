"""Shimmer3 GSR+."""
