"""Fixtures of the flows' tests."""

from works import works

__all__ = ["works"]
