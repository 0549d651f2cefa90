"""Recipes that learn from ranked answers or pairs of them, one file each."""
