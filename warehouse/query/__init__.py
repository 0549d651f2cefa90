"""Read-only queries over a lake."""
