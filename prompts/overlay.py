"""The check of an overlay folder: a file in it that would never be read is a mistake, and is named."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path

from alignery.untrusted import excerpt
from prompts.templates import PromptError

# Files that people and their tools leave in a folder.
_IGNORED = (
    ".*",
    "*~",
    "#*#",
    "*.bak",
    "*.orig",
    "*.swp",
    "*.tmp",
    "*.md",
    "README*",
    "LICENSE*",
    "__pycache__",
    "*.rej",
)


def check(overlay: Path, variant: str, variants: Collection[str], known: Collection[str]) -> list[Path]:
    """The overlay's files that are read under this variant.

    A file of another variant is allowed next to the same file of this one, for presets that share the folder; without
    that, it was probably meant for this variant.

    Args:
        known: names under the variant "full" of every file that may be read, such as `respond/answer.yaml`.

    Raises:
        PromptError: a file that is never read: its name, and the nearest that is.
    """
    here = {name: _under(name, variant) for name in known}
    elsewhere = {_under(name, other): name for other in variants if other != variant for name in known}
    found = {path.relative_to(overlay).as_posix(): path for path in _files(overlay)}
    for name, path in found.items():
        if name in here.values() and os.path.isfile(path):
            continue
        if name in elsewhere and here[elsewhere[name]] in found:
            continue
        if name in here.values():
            raise PromptError(f"{excerpt(path)}: got no regular file, expected a text file; replace it")
        fix = here[elsewhere[name]] if name in elsewhere else _nearest(name, here.values())
        raise PromptError(
            f"words.overlay: got {excerpt(path)}, which nothing reads under the variant {variant!r}; "
            f"rename it to {fix}, or move it out of {excerpt(overlay)}"
        )
    return [path for name, path in found.items() if name in here.values()]


def misplaced(overlay: Path, name: str) -> Path | None:
    """A file that was meant to be the missing `name`: of the same stem, elsewhere or of another kind."""
    stem = _stem(name)
    return next((path for path in _files(overlay) if _stem(path.name) == stem), None)


def _stem(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[0].casefold()


def _under(name: str, variant: str) -> str:
    stem, _, suffix = name.rpartition(".")
    return name if variant == "full" else f"{stem}.{variant}.{suffix}"


def _files(overlay: Path) -> Iterator[Path]:
    """The files of the folder and of its folders; a folder in one of these is returned as it is, unread."""
    for path in _listed(overlay):
        if path.is_dir():
            yield from _listed(path)
        else:
            yield path


def _listed(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise PromptError(
            f"words.overlay: {excerpt(folder)} cannot be listed: {error.strerror}; give a folder that you may read"
        ) from error
    return [folder / name for name in names if not any(fnmatch.fnmatchcase(name, each) for each in _IGNORED)]


def _nearest(name: str, right: Collection[str]) -> str:
    """By the whole name, or where the folder is wrong, by the file's."""
    by_file = {path.rpartition("/")[2]: path for path in right}
    if (file := name.rpartition("/")[2]) in by_file:
        return by_file[file]
    if near := get_close_matches(name, right, 1, 0.5):
        return near[0]
    near = get_close_matches(file, by_file, 1, 0.3)
    return by_file[near[0]] if near else f"one of {sorted(right)[:4]} …"
