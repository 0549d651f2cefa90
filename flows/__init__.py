"""When, and in what order: thin Prefect flows and their deployment."""
