"""Whether a folder holds an export, and its files are as the manifest says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path
from typing import Any

from warehouse.errors import LakeUsageError

IN_THE_WAY = "something that is not an export is already there; move it away, or choose another folder"


def holds_export(folder: Path, facts: Mapping[str, Any]) -> bool:
    """Whether the folder holds exactly this export; False if there is nothing.

    Raises:
        LakeUsageError: something else is there.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        there = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        found = _layout(there)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LakeUsageError(f"{folder}: {IN_THE_WAY}") from error
    if found != _layout(facts):
        what = f"another export is already there (snapshot {there['snapshot_id']}, content {found[0][:12]})"
        raise LakeUsageError(f"{folder}: {what}; move it away, or choose another folder")
    for name, file in there["files"].items():
        if not (folder / name).is_file() or sha256(folder / name) != file["sha256"]:
            raise LakeUsageError(
                f"{folder / name}: not as its export's manifest says; delete that export, to make it again"
            )
    return True


def _layout(facts: Mapping[str, Any]) -> tuple[str, dict[str, int]]:
    return facts["content_hash"], {name: file["rows"] for name, file in facts["files"].items()}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
