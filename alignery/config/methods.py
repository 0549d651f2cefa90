"""What follows from the known methods: the sections of a preset, and the schema of a lake."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import create_model

from alignery.config.schema import Line, Retrain
from tasks.methods.registry import MethodError, Methods, installed
from warehouse.schema import lake_schema
from warehouse.schema.lake_schema import LakeSchema


@lru_cache(maxsize=16)
def line_model(methods: Methods) -> type[Line]:
    """`Line` with a field for each method."""
    fields: dict[str, Any] = {}
    for name, one in methods.installed.items():
        if name in Line.model_fields:
            raise MethodError(f"method {name} ({one.origin}): a line has a setting of that name; rename it")
        fields[name] = (one.method.config | None, one.method.config() if one.method.always else None)
    model = create_model("Line", __base__=Line, __module__=__name__, **fields)
    model.methods = methods
    return model


@lru_cache(maxsize=16)
def retrain_model(methods: Methods) -> type[Retrain]:
    """`Retrain` with a field for each recipe."""
    for one in methods.installed.values():
        if taken := next((name for name in one.method.recipes if name in Retrain.model_fields), None):
            raise MethodError(
                f"method {one.method.name} ({one.origin}): recipe {taken}: `retrain` has a setting of that "
                "name; rename it"
            )
    fields: dict[str, Any] = {name: (recipe.config | None, None) for name, recipe in methods.recipes.items()}
    model = create_model("Retrain", __base__=Retrain, __module__=__name__, **fields)
    model.methods = methods
    return model


@lru_cache(maxsize=16)
def schema_of(methods: Methods) -> LakeSchema:
    """What a lake has for these methods, beside its ledger."""
    return LakeSchema(tuple(methods.tables), methods.views, tuple(methods.shapes))


lake_schema.set_default(schema_of(installed()))
