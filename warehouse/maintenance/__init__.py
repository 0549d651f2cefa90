"""Compaction, expiry and clean-up."""
