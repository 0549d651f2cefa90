"""Evaluation: held-out prompts answered once, scored by a given function, and compared."""
