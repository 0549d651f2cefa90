"""Rewarded soups: models that were trained from one start, interpolated, and which of these is taken."""
