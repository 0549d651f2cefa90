"""A project folder: a preset with its JSON schema, prompts to edit, and files to run and schedule it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from alignery.config.json_schema import preset_schema
from alignery.config.preset import SHIPPED
from alignery.errors import UsageError
from alignery.untrusted import excerpt
from prompts import Library

STARTS = {
    "nano": "the embedded model, with no GPU and no network",
    "vllm": "a model in vLLM on this machine's GPU",
    "server": "any OpenAI-compatible server",
    "own-data": "your own prompts, answered, criticised, revised and corrected by the embedded model",
}
_WORDS = "constitutional/constitution"  # what most users replace first
_SHARED = {
    "README.md": "README.md",
    "env.example": ".env.example",
    "gitignore": ".gitignore",
    "prefect.yaml": "prefect.yaml",
    "deployed.py": "deployed.py",
}


class ProjectError(UsageError):
    """The folder has files that would be replaced, or cannot be made."""


def make(folder: Path, start: str) -> list[Path]:
    """Write the files of a start (a key of STARTS) into a folder; existing files are not replaced.

    Returns:
        The files, in the order in which to read them.

    Raises:
        ProjectError: one of the files is there already.
    """
    files = {folder / name: text for name, text in _files(start, folder.absolute().name).items()}
    if there := [file for file in files if os.path.lexists(file)]:
        raise ProjectError(f"{excerpt(there[0], 200)}: got a file that is there already; name another folder")
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return list(files)


def _files(start: str, name: str) -> dict[str, str]:
    """File in the folder → text."""
    templates = SHIPPED / "init"
    variant = "full" if start in ("vllm", "server") else "nano"
    preset = (templates / f"{start}.yaml").read_text(encoding="utf-8")
    found = {"preset.yaml": preset.replace("@NAME@", json.dumps(name or "factory"))}
    if start == "own-data":
        found["prompts.jsonl"] = (templates / "prompts.jsonl").read_text(encoding="utf-8")
    words = Library(variant).path(_WORDS)
    found[f"words/{words.parent.name}/{words.name}"] = words.read_text(encoding="utf-8")
    for source, target in _SHARED.items():
        found[target] = (templates / source).read_text(encoding="utf-8").replace("@ABOUT@", STARTS[start])
    found["preset.schema.json"] = json.dumps(preset_schema(), indent=1, ensure_ascii=False) + "\n"
    return found
