"""People's marks in the lake: what may be marked, what was, and what to look at next."""
