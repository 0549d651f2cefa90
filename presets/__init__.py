"""Presets: a whole factory as one strict YAML file. `alignery.config.preset` reads them."""
