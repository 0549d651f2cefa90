"""Snapshots, tags and exports."""
