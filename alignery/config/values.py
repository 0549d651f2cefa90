"""The values of a preset, resolved: paths from the file's folder, `${NAME}` from the environment."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from alignery.config.schema import PresetError
from alignery.untrusted import excerpt

_PACKAGE = Path(__file__).parents[2]
_PACKAGED = re.compile(r"alignery:(?:nano|presets)/")
# Fields whose text is never a path, whatever it begins with.
_WORDS = {"about", "topic", "origin", "field", "stop", "replies", "blacklist", "openings", "variant"}
_LARGEST = 10**12  # of a number in a preset; what a library is given as it is (`options`) may be larger


def resolved(
    value: Any, path: Path, field: tuple[str, ...], taken: dict[tuple[str, ...], str], words: bool = False
) -> Any:
    """The value with paths and environment filled in; `taken` gathers which fields came from the environment.

    With `words`, its texts are no paths.
    """
    if isinstance(value, dict):
        named = {"model"} if value.get("engine") == "openai" else set()  # by the server, and not a folder here
        return {
            key: resolved(item, path, (*field, str(key)), taken, words or key in _WORDS | named)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [resolved(item, path, (*field, str(place)), taken, words) for place, item in enumerate(value)]
    where = f"{path}: {excerpt('.'.join(field), 120)}"
    if isinstance(value, int | float) and abs(value) > _LARGEST and "options" not in field:
        raise PresetError(f"{where}: got {value:.3g}, expected at most {_LARGEST:,}; give a smaller number")
    if not isinstance(value, str):
        return value
    text = _text(value, field, where, taken)
    return text if words else _placed(text, path)


def _text(value: str, field: tuple[str, ...], where: str, taken: dict[tuple[str, ...], str]) -> str:
    written = value
    if names := re.findall(r"\$\{(\w+)\}", value):
        taken[field] = value
        for name in names:
            if name not in os.environ:
                raise PresetError(f"{where}: ${{{name}}} is not set in the environment; export {name}=…")
            value = value.replace(f"${{{name}}}", os.environ[name])
    if not value.strip() and not {"options", "replies", "stop"} & {*field}:
        raise PresetError(f"{where}: got {excerpt(repr(written), 80)}, which is blank; fill it, or drop the key")
    if any("\ud800" <= char <= "\udfff" or char == "\0" for char in value):
        raise PresetError(f"{where}: got bytes that are no text, expected UTF-8; correct it")
    return value


def _placed(value: str, path: Path) -> str:
    """A path that begins as one, as seen from the preset's folder; all else as it is."""
    if _PACKAGED.match(value):  # so that a copy of a shipped preset works anywhere
        return str(_PACKAGE / value.partition(":")[2])
    return str((path.parent / value).resolve()) if value.startswith(("./", "../")) else value
