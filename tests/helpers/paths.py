"""The path of the checkout, and of the data that may be next to it."""

from pathlib import Path

__all__ = ["ROOT", "SHARED"]

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
