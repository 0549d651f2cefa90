"""People's marks in the lake: what can be marked, what was, and what to review next."""
