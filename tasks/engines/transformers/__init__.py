"""The engine that runs a model in process with transformers."""
