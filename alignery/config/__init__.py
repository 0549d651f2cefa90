"""Presets: how they are read, checked and resolved."""
