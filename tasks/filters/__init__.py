"""Filters that reject records: heuristics, near-duplicates, evaluation prompts. Pure functions of text."""
