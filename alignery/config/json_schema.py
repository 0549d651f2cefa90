"""The JSON schema of a preset, by which an editor completes its keys and checks their values."""

from __future__ import annotations

from typing import Any

from alignery.config.preset import preset_model
from tasks.methods.registry import Methods, installed


def preset_schema(methods: Methods | None = None) -> dict[str, Any]:
    """The schema (JSON Schema 2020-12) of a preset file whose methods are these, or those that are installed.

    A file has a name without saying so, its own, and any text of it may be taken from the environment (`${NAME}`).
    """
    schema = preset_model(methods or installed()).model_json_schema()
    schema["required"] = [name for name in schema["required"] if name != "name"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": "A preset of Alignery"}
