"""An export's `.dvc` file, as `dvc add` would write it: Data Version Control takes the folder over as it is.

DVC (3.x) knows a folder by the MD5 of the JSON list of its files' MD5 sums and paths, in the order of the paths
(https://dvc.org/doc/user-guide/project-structure/dvc-files; `dvc_data.hashfile.tree.Tree.as_bytes`).
"""

from __future__ import annotations

import hashlib
import json
from hashlib import file_digest
from pathlib import Path

from alignery import effects


def write_dvc(folder: Path) -> Path:
    """Write `<folder>.dvc` beside the folder; returns it. The same folder gives the same bytes."""
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
    with effects.EXPORT_FACTS:
        place.write_text(yaml.safe_dump({"outs": [out]}, sort_keys=False), encoding="utf-8")
    return place


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
