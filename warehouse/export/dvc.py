"""An export's `.dvc` file, as `dvc add` would write it: Data Version Control uses the folder unchanged.

DVC (3.x) identifies a folder by the MD5 of the JSON list of its files' MD5 sums and paths, in the order of the paths
(https://dvc.org/doc/user-guide/project-structure/dvc-files; `dvc_data.hashfile.tree.Tree.as_bytes`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any

from alignery import effects
from alignery.textfiles import TextFileError, read_yaml
from alignery.untrusted import excerpt
from warehouse.errors import LakeUsageError

# The keys that a person writes; the others are DVC's own, about the content of then.
FACTS = ("desc", "meta")
OUTPUT = ("desc", "type", "labels", "meta", "remote", "push")


def write_dvc(folder: Path) -> Path:
    """Write `<folder>.dvc` beside the folder; returns it. The same folder gives the same bytes.

    What a person wrote into an existing file is kept, such as `desc`, `meta` and `remote`, as `dvc add` keeps it; what
    DVC wrote about the content of then is not.

    Raises:
        LakeUsageError: the file there is no `.dvc` file, or one of another command than `dvc add`.
    """
    import yaml

    files = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    entries = [{"md5": _md5(path), "relpath": name} for name, path in files]
    whole = hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
    out = {
        "md5": f"{whole}.dir",
        "size": sum(path.stat().st_size for _, path in files),
        "nfiles": len(files),
        "hash": "md5",
        "path": folder.name,
    }
    place = folder.with_name(f"{folder.name}.dvc")
    facts, before = _read(place)
    with effects.EXPORT_FACTS:
        place.write_text(yaml.safe_dump(facts | {"outs": [before | out]}, sort_keys=False), encoding="utf-8")
    return place


def _read(place: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a person may have written into a `.dvc` file, and of its output; nothing where there is no file."""
    if not place.exists():
        return {}, {}
    try:
        facts = read_yaml(place)
        (output,) = facts["outs"]
        if "deps" in facts:
            raise ValueError("it has dependencies, as `dvc import` writes them")
        return _kept(facts, FACTS), _kept(dict(output), OUTPUT)
    except (TextFileError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise LakeUsageError(
            f"{place}: got no .dvc file of one output ({excerpt(error)}), and writing it would lose what it says; move "
            "it away, or export to another folder"
        ) from error


def _kept(found: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: found[name] for name in names if name in found}


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
