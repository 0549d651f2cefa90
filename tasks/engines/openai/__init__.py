"""The engine that talks to an OpenAI-compatible server."""
