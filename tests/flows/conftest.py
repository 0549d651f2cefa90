"""Fixtures of the flows' tests."""

from speaker import speaker
from works import works

__all__ = ["speaker", "works"]
