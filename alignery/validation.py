"""Validates data of a user's file against its model: pydantic's error as one sentence (got, expected, fix)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ValidationError

from alignery.errors import UsageError
from alignery.untrusted import excerpt

Field = tuple[Any, ...]  # names and places from the outside in, as pydantic's `loc`
_Model = TypeVar("_Model", bound=BaseModel)
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")
_EXPECTED = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dataclass_type", "dict_type"), "a mapping (key: value)"),
    **dict.fromkeys(("list_type", "tuple_type", "set_type"), "a list ([…])"),
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float", "int_parsing_size"), "a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "a number"),
    **dict.fromkeys(("string_type", "path_type"), "a text"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "true or false"),
}
_GOT = 80  # characters of a value in a sentence


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("got a blank text, expected words; fill it")
    return text


def _file_exists(path: Path) -> Path:
    if not os.path.isfile(path):  # unlike Path's, False for a name that is too long, or in a folder not to be read
        raise ValueError(
            f"got {excerpt(path)}, which is not a file; give one (./ and ../ start from the preset's folder)"
        )
    return path


def _folder_exists(path: Path) -> Path:
    if not os.path.isdir(path):
        raise ValueError(
            f"got {excerpt(path)}, which is not a folder; give one (./ and ../ start from the preset's folder)"
        )
    return path


Filled = Annotated[str, AfterValidator(_not_blank)]
ExistingFile = Annotated[Path, AfterValidator(_file_exists)]
ExistingFolder = Annotated[Path, AfterValidator(_folder_exists)]


def validated(
    model: type[_Model], data: Any, where: str, error: type[UsageError], taken: Collection[Field] = ()
) -> _Model:
    """The data as the model.

    Args:
        where: names the file in the sentence, and the line where that is known.
        error: what is raised.
        taken: fields that come from the environment; their values may be secrets, and are not in the message.
    """
    try:
        parsed = model.model_validate(data)
    except ValidationError as found:
        raise error(sentence(where, found, model, taken)) from found
    if field := _truth_as_number(data, parsed, ()):
        raise error(f"{where}: {'.'.join(map(str, field))}: got true or false, expected a number; correct it")
    return parsed


def sentence(where: str, error: ValidationError, model: Any, taken: Collection[Field] = ()) -> str:
    """The first error; a mistyped key before the key that is missing because of it."""
    complaints = error.errors(include_url=False)
    first = min(complaints, key=lambda found: found["type"] not in _UNKNOWN)
    place, kind = tuple(first["loc"]), first["type"]
    field = excerpt(".".join(map(str, place)), 200) or "the file"
    if kind in _UNKNOWN:
        known = _known(model, place)
        near = get_close_matches(str(place[-1]), known, 1)
        fix = f"rename it to {near[0]}, or remove it" if near else "rename or remove it"
        return f"{where}: {field}: no such key; expected one of {known}; {fix}"
    if kind in _MISSING:
        return f"{where}: {field}: got nothing, expected a value; add it"
    names = tuple(map(str, place))
    secret = any(set(map(str, whence)) <= set(names) for whence in taken)
    given = "a value from the environment" if secret else _described(first["input"])
    if kind == "value_error":
        message = excerpt(str(first["ctx"]["error"]), 600)
        return (
            f"{where}: {field}: {message}"
            if message.startswith("got ") and not secret
            else _of_ours(where, field, message, given)
        )
    return f"{where}: {field}: got {given}, expected {_expected(first)}; correct it"


def _of_ours(where: str, field: str, message: str, given: str) -> str:
    """A validator's own message, which may not say what was got."""
    return f"{where}: {field}: {message}" if ": got " in message else f"{where}: {field}: {message} (got {given})"


def _described(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a mapping with the keys {excerpt(list(value), _GOT)}" if value else "an empty mapping"
    if isinstance(value, BaseModel):
        return "this section"
    if value is None:
        return "nothing (null)"
    return excerpt(repr(value), _GOT)


def _expected(found: Mapping[str, Any]) -> str:
    """What was expected, from pydantic's message."""
    kind, limits = found["type"], found.get("ctx", {})
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        of = f", one of {limits['expected_tags']}" if "expected_tags" in limits else ""
        return f"the key {limits['discriminator']}{of}"
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    message = excerpt(found["msg"])
    for phrase in ("Input should be ", "Input should ", "String should ", "Value should "):
        message = message.removeprefix(phrase)
    return f"{message[:1].lower()}{message[1:]}"


def _truth_as_number(data: Any, parsed: Any, field: Field) -> Field | None:
    """Where `true` was taken for 1, which pydantic does."""
    if isinstance(data, bool):
        return field if isinstance(parsed, int | float) and not isinstance(parsed, bool) else None
    pairs: list[tuple[Any, Any, Any]] = []
    if isinstance(data, Mapping):
        pairs = [(key, value, _value(parsed, key)) for key, value in data.items()]
    elif isinstance(data, Sequence) and not isinstance(data, str) and isinstance(parsed, list | tuple):
        pairs = [(place, *pair) for place, pair in enumerate(zip(data, parsed, strict=False))]
    return next((found for key, a, b in pairs if (found := _truth_as_number(a, b, (*field, key)))), None)


def _value(parsed: Any, key: Any) -> Any:
    if isinstance(parsed, Mapping):
        return parsed.get(key)
    fields = type(parsed).model_fields if isinstance(parsed, BaseModel) else {}
    name = next((name for name, field in fields.items() if field.alias == key), key)
    return getattr(parsed, name, None) if isinstance(name, str) else None


def _known(model: Any, location: Sequence[int | str]) -> list[str]:
    """The keys that are allowed where an unknown one was found."""
    models: list[Any] = [model]
    for part in location[:-1]:
        annotations = [_fields(model)[part] for model in models if part in _fields(model)]
        # Else the part is the key of a mapping (an alias), or the engine that picks one spec of several.
        picked = [model for model in models if part in get_args(_fields(model).get("engine"))]
        models = [model for found in annotations for model in _models(found)] or picked or models
    return sorted({name for model in models for name in _fields(model)})


def _fields(model: Any) -> dict[Any, Any]:
    """Key → annotation, of a pydantic model or of a dataclass."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        return {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    return {field.name: field.type for field in dataclasses.fields(model)}


def _models(annotation: Any) -> list[Any]:
    """The models within an annotation, such as `Line | None` or `dict[Alias, EngineSpec]`."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or dataclasses.is_dataclass(annotation)):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
