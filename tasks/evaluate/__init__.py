"""Evaluation: held-out prompts answered once, scored by a function that is handed in, and compared."""
