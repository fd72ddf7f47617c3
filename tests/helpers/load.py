"""The delay that is allowed for a correct program on a busy machine."""

__all__ = ["LOAD_S"]

LOAD_S = 5.0
"""Added to a time that the design bounds: on two cores next to a busy process everything is later."""
