"""The one reader of a user's text files (YAML, JSON Lines, plain text): careful of encodings, size and form.

UTF-8 is read, with a byte-order mark or without, and UTF-16 that has one. Everything else is a `TextFileError` that
names the file, the line and the fix.
"""

from __future__ import annotations

import codecs
import json
import math
import re
import stat
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.constructor import SafeConstructor

from alignery.errors import UsageError
from alignery.untrusted import excerpt

MOST_BYTES, MOST_YAML_BYTES = 256 << 20, 4 << 20
_MOST_KEYS = 10_000  # of one mapping, merged ones included
_MOST_VALUES, _DEEPEST, _LARGEST = 200_000, 100, 2**63  # of a YAML file's content, aliases written out
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_HALF = re.compile("[\ud800-\udfff]")


class TextFileError(UsageError):
    """A file that cannot be read, or is not what it should be."""


def read_text(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """The file's text, without a byte-order mark; line breaks unchanged.

    Raises:
        TextFileError: it is missing, not readable, too large, or its bytes are not text.
    """
    try:
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # opening a pipe would wait for its writer
            raise TextFileError(f"{excerpt(path)}: is a device or a pipe, expected a text file; give one")
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except TextFileError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        why = getattr(error, "strerror", None) or str(error)
        raise TextFileError(f"{excerpt(path)}: cannot be read: {why}; give a text file that you may read") from error
    if len(data) > most_bytes:
        raise TextFileError(f"{path}: has more than {most_bytes:,} bytes; split it, or give the file that was meant")
    mark = next((mark for mark in _MARKS if data.startswith(mark)), b"")
    try:
        text = data[len(mark) :].decode(_MARKS.get(mark, "utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start + len(mark)) + 1
        byte = data[len(mark) :][error.start]
        raise TextFileError(
            f"{path}: line {line}: got the byte 0x{byte:02x}, expected {error.encoding.upper()}; save the file as UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise TextFileError(f"{path}: line {line}: got a null character, expected text; save the file as UTF-8")
    return text


def read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """The line's number (from 1) and its value, of each line that is not blank. Raises TextFileError."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield number, parse_json(line, f"{path}: line {number}")


def parse_json(text: str, where: str) -> Any:
    """A JSON value; `where` names it in errors. Raises TextFileError."""
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_each_key_once)
    except RecursionError as error:
        raise TextFileError(f"{where}: nested too deep, expected JSON of at most {_DEEPEST} levels") from error
    except ValueError as error:
        raise TextFileError(
            f"{where}: not JSON: {excerpt(error)}; expected one JSON value, correct the line"
        ) from error
    check_value(value, where)
    return value


def read_yaml(path: Path) -> Any:
    """The one document of a YAML file. A duplicate key is refused. Raises TextFileError."""
    text = read_text(path, MOST_YAML_BYTES)
    try:
        value = _load_yaml(text)
    except RecursionError as error:
        raise TextFileError(f"{path}: nested too deep, expected at most {_DEEPEST} levels; fix the file") from error
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        where = f"line {at.line + 1}, column {at.column + 1}: " if at else ""
        problem = excerpt(error.problem or error.context or "no YAML")
        raise TextFileError(f"{path}: {where}not YAML: {problem}; fix the file") from error
    except (yaml.YAMLError, ValueError, OverflowError, AttributeError, TypeError, LookupError) as error:
        # PyYAML's constructors raise these directly for an invalid tagged value (`!!int x`, `2024-99-99`).
        raise TextFileError(f"{path}: not YAML: {excerpt(error)}; fix the file") from error
    check_value(value, str(path))
    return value


def _load_yaml(text: str) -> Any:
    """By libyaml, ten times as fast as Python's own parser, which is exact in what it says of a mistake.

    libyaml's values are made by recursion in C, which would overflow the stack: what is nested deep is Python's too.
    """
    with suppress(yaml.YAMLError):
        if _is_shallow(text):
            return yaml.load(text, _FastLoader)
    return yaml.load(text, _Loader)


def _is_shallow(text: str) -> bool:
    depth = 0
    for event in yaml.parse(text, _FastLoader):  # without recursion
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            return False
    return True


def check_value(value: Any, where: str) -> None:
    """What no file of ours may hold: half characters, numbers beyond 64 bits or not finite, endless content.

    Raises:
        TextFileError: with the place in the value, as in `line.chunk`.
    """
    left = _MOST_VALUES

    def walk(value: Any, field: tuple[object, ...]) -> None:
        nonlocal left
        left -= 1
        problem = "too much content (aliases written out), or nested too deep" if left < 0 else _problem(value, field)
        if problem:
            place = f"{where}: {excerpt('.'.join(map(str, field)), 120)}" if field else where
            raise TextFileError(f"{place}: {problem}; correct it")
        if isinstance(value, dict):
            for key, item in value.items():
                walk(key, field)
                walk(item, (*field, key))
        elif isinstance(value, list | tuple | set):
            for number, item in enumerate(value):
                walk(item, (*field, number))

    walk(value, ())


def _problem(value: Any, field: Sequence[object]) -> str | None:
    if len(field) > _DEEPEST:
        return f"nested too deep, expected at most {_DEEPEST} levels"
    match value:
        case str() if _HALF.search(value):
            return "got half a character (a lone surrogate), expected text"
        case int() if not -_LARGEST <= value < _LARGEST:
            return "got a number beyond 64 bits, expected a smaller one"
        case float() if not math.isfinite(value):
            return f"got {value}, expected a finite number (left out where there is no limit)"
    return None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"the key {excerpt(twice, 60)!r} occurs twice")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


class _KeysOnce(SafeConstructor):
    """YAML's safe types; a mapping has each key once."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > _MOST_KEYS:  # merge keys multiply
            raise yaml.constructor.ConstructorError(None, None, f"more than {_MOST_KEYS:,} keys", node.start_mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {excerpt(key, 60)!r} occurs twice, expected once", key_node.start_mark
                )
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


class _Loader(_KeysOnce, yaml.SafeLoader):
    pass


class _FastLoader(_KeysOnce, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # where PyYAML has it
    pass
