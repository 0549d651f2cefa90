"""Alignery: what every package of it shares. Nothing here imports `flows`, `tasks`, `prompts` or `warehouse`."""
