"""Suites: sets of prompts that a model is scored on, as data; `suite.py` has their kinds and where they come from."""
