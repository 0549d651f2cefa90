"""Tables, their Arrow schemas, views and migrations."""
