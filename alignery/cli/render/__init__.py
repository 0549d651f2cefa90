"""What the command line shows: tables, traces, plans."""
