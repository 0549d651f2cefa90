"""Connection, location, lock and errors of the catalog and its data files."""
