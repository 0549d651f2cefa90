"""Checks of a lake."""
