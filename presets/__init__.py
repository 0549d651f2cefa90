"""Presets: a whole factory as one strict YAML file. `flows.presets` reads them."""
