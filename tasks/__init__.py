"""Plain functions, rows in, rows out. No Prefect, no SQL; heavy imports inside the functions that need them."""
