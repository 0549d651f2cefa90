"""What keeps a record out: heuristics, near-duplicates, evaluation prompts. Pure functions of text."""
