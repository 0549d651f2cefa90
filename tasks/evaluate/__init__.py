"""Evaluation: held-out prompts answered once, scored by a given function, and compared."""

PICTURES = "pictures"  # the folder of a home that has those of the newest evaluation
HISTORY = "history.svg"  # among them, that of all decisions
