"""What leaves this machine for a hub of data sets and models, and only when it is asked to."""
