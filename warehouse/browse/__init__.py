"""What the pages of `alignery view` ask of a lake: plain data, bounded texts, one page of rows at a time."""
