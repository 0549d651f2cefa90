"""Push an export or a trained model to a hub with Hugging Face's protocol (HF_ENDPOINT; default huggingface.co).

One commit adds all files and deletes those of an earlier push that this one does not have, because `datasets` reads
every file in `data/`. Pushed again unchanged, nothing is committed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignery import effects
from alignery.config.extras import NotInstalled
from alignery.display import Displayed
from alignery.errors import AligneryError, UsageError
from alignery.hub.card import model_card
from alignery.untrusted import excerpt
from warehouse.errors import LakeUsageError
from warehouse.lake import Lake
from warehouse.model_registry import find
from warehouse.query import status

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

CARD = "README.md"
# Of a model's folder: these name folders of this machine. The weights have the adapter merged in.
_KEPT_HERE = ("report.json", "adapter")
_STALE = ("data/", "provenance/")  # of a data set: files there that this push does not have are deleted


class PushFailed(AligneryError):
    """The hub cannot be reached, or refuses."""


@dataclass(frozen=True)
class Source:
    """What is pushed.

    Args:
        kind: "dataset" or "model".
        about: the commit's message.
        card: the text of README.md where the folder has none.
    """

    folder: Path
    kind: str
    about: str
    card: str | None = None


@dataclass(frozen=True)
class Pushed(Displayed):
    """A finished push. `commit` is the hub's newest, made by this push or, where nothing differed, before it."""

    address: str
    kind: str
    commit: str
    private: bool
    files: int


def export_source(folder: Path) -> Source | None:
    """The export that a folder holds; None where it holds none."""
    try:
        facts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not (isinstance(facts, dict) and "content_hash" in facts):
        return None
    return Source(folder, "dataset", f"Alignery export {folder.name}")


def find_source(lake: Lake, name: str, licences: Mapping[str, str]) -> Source:
    """The export of a published tag, or a trained model by the beginning of its id or of its folder's name.

    Args:
        licences: identity of a model → its licence.

    Raises:
        LakeUsageError: there is neither, or several models begin so.
        UsageError: its folder is gone.
    """
    tag = next((row for row in status.tags(lake) if row["name"] == name and row["export_path"]), None)
    if tag:
        folder = Path(status.own(lake, [tag])[0]["export_path"])
        if source := export_source(folder):
            return source
        raise UsageError(
            f"{folder}: the export of tag {name} is not there; `alignery publish --tag {name}` makes it again"
        )
    try:
        row = find(lake, name)
    except LakeUsageError as error:
        tags = ", ".join(row["name"] for row in status.tags(lake) if row["export_path"])
        what = f"push: got {excerpt(name, 100)!r}, which is neither the folder of an export nor a published tag"
        raise UsageError(f"{what} (published: {tags or '(none)'}) nor a model: {error}") from error
    folder = Path(row["path"])
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"{folder}: the folder of model {row['id']} is not there; name one that is (`alignery models`)"
        )
    return Source(
        folder, "model", f"Alignery model {folder.name}", model_card(folder, row, licences.get(row["base_id"]))
    )


def push(source: Source, repo: str, *, public: bool = False) -> Pushed:
    """Create the repository if missing, and commit the folder to it.

    Args:
        repo: "you/name".
        public: whether all may read it.

    Raises:
        NotInstalled: without huggingface_hub.
        UsageError: the hub is switched off, there is no token, or the repository is there and public, which was not
            asked for.
        PushFailed: the hub cannot be reached, or refuses; a repository that was made is then empty.
    """
    token = _allowed(repo)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi(token=token, library_name="alignery")
    with _answered(api, repo):
        try:
            there = api.repo_info(repo, repo_type=source.kind)
        except RepositoryNotFoundError:
            there = None
        if there is not None and not there.private and not public:
            raise UsageError(f"{repo}: exists and is public; pass --public, or name another")
        stale = _names(api, repo, source.kind) if there is not None else set()
        operations = _operations(source, stale)
        with effects.HUB_PUSH:
            if there is None:
                api.create_repo(repo, repo_type=source.kind, private=not public, exist_ok=True)
            done = api.create_commit(repo, operations, commit_message=source.about, repo_type=source.kind)
    private = bool(there.private) if there is not None else not public
    files = sum(hasattr(one, "path_or_fileobj") for one in operations)
    return Pushed(str(done.repo_url), source.kind, str(done.oid), private, files)


def _allowed(repo: str) -> str:
    """The token; an error where a push cannot even begin."""
    if find_spec("huggingface_hub") is None:
        raise NotInstalled("push needs huggingface_hub, which this Python has not; pip install 'alignery[hub]'")
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    if constants.HF_HUB_OFFLINE:
        raise UsageError("push: HF_HUB_OFFLINE is set, which forbids any request to a hub; unset it to push")
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UsageError(f"push: got {excerpt(repo, 100)!r}, expected you/name: {excerpt(error)}") from error
    if "/" not in repo:
        raise UsageError(f"push: got {repo!r}, expected you/name; put the user or the organisation before it")
    if not (token := os.environ.get("HF_TOKEN", "").strip()):
        raise UsageError("push: got no HF_TOKEN in the environment; set it to a token of the hub that may write")
    return token


def _operations(source: Source, there: set[str]) -> list[CommitOperationAdd | CommitOperationDelete]:
    """The commit's operations: add each file and the card; for an export, delete files of earlier pushes."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    files: dict[str, Path | bytes] = {}
    for path in sorted(source.folder.rglob("*")):
        name = path.relative_to(source.folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts) and name.parts[0] not in _KEPT_HERE:
            files[name.as_posix()] = path
    if source.card and CARD not in files:
        files[CARD] = source.card.encode()
    gone = [name for name in sorted(there - files.keys()) if source.kind == "dataset" and name.startswith(_STALE)]
    return [
        *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in files.items()),
        *(CommitOperationDelete(path_in_repo=name) for name in gone),
    ]


def _names(api: HfApi, repo: str, kind: str) -> set[str]:
    """The repository's files; one without a commit has none."""
    from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError

    try:
        return set(api.list_repo_files(repo, repo_type=kind))
    except (EntryNotFoundError, RevisionNotFoundError):
        return set()


@contextmanager
def _answered(api: Any, repo: str) -> Iterator[None]:
    """Errors of the hub's client as PushFailed, in one sentence without the token."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its HTTP library

    try:
        yield
    except AligneryError:
        raise
    # An answer that is not the protocol's, a refused card (ValueError, KeyError); a large file that did not arrive
    # (RuntimeError).
    except (HTTPError, OSError, ValueError, KeyError, RuntimeError) as error:
        what = f"{repo}: {excerpt(api.endpoint, 100)} did not take the push: {excerpt(error)}"
        raise PushFailed(f"{what}; fix that and push again, which sends what is not there") from error
