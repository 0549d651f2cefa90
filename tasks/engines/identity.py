"""Location and identity of a model or its adapter: a folder is identified by its content, a hub model by its name."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from alignery.untrusted import excerpt
from prompts import Form
from tasks.engines.protocol import SpecError

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# What determines replies: weights, configs and tokenizer; not a report or a card beside them.
FILES = (
    *("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "config.json", "generation_config.json"),
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt"),
    *("chat_template*", "*.model"),
)
GGUF = ".gguf"  # one file of weights, tokenizer and settings
ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
WHOLE = 64 << 20  # bytes; a longer file is sampled
SLICE = 1 << 20
HUB_S = 10.0  # seconds that a hub has to answer


def locate(model: str, where: str = "engine.model") -> tuple[str, bool]:
    """What to load, and whether it is a folder here, or a .gguf file.

    An existing folder, or .gguf file, is used as such. Else `owner/name` is a hub's name, if no folder `owner` exists;
    anything else is a path, and never looked up on a hub.

    Raises:
        SpecError: a path where there is no model.
    """
    path = Path(os.path.expanduser(model))
    if os.path.isdir(path):  # unlike Path's, False for a name that is too long, or in a folder not to be read
        if not os.path.isfile(path / "config.json"):
            raise SpecError(
                f"{where}: the folder {excerpt(path)} holds no config.json; give a folder that a model was saved to"
            )
        return str(path), True
    if path.suffix == GGUF and os.path.isfile(path):
        return str(path), True
    if HUB_NAME.fullmatch(model) and not os.path.isdir(model.partition("/")[0]):
        return model, False
    fetched = "; `alignery fetch` lists small ones that it brings" if path.suffix == GGUF else ""
    raise SpecError(
        f"{where}: no model folder {excerpt(path)} (from {excerpt(Path.cwd())}); correct the path, or give "
        f"owner/name to take it from a hub{fetched}"
    )


def local_only(model: str, revision: str) -> bool:
    """Whether a loader should send no request to a hub: the model is a folder or a file, or no hub answers and the
    hub's cache on this machine has it.

    A hub is sent one request of a few seconds, before a loader repeats each of its own for half a minute. An error of
    the hub's server (5xx) is no answer.

    Raises:
        SpecError: it is neither here nor a hub's name, or no hub answers and the cache lacks the model.
    """
    name, is_here = locate(model)
    if is_here:
        return True
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]  # of its HTTP library

    try:
        HfApi().model_info(name, revision=revision, timeout=HUB_S)
    except (HTTPError, OSError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            return False  # the loader reports what is wrong with the name or the token
        if isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
            return True
        raise SpecError(
            f"engine.model: {name!r} is neither here nor can it be fetched: {excerpt(error)}; check the network, or "
            "give a folder that a model was saved to"
        ) from error
    return False


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter as PEFT saves it; `rank` is the largest of its matrices."""

    folder: Path
    rank: int


def locate_adapter(lora: str, where: str = "engine.lora") -> Adapter:
    """The adapter in a folder here; none is ever looked up on a hub.

    Raises:
        SpecError: there is none, or it is not a LoRA adapter.
    """
    folder = Path(os.path.expanduser(lora))
    config, *weights = (folder / name for name in ADAPTER)
    if not (os.path.isfile(config) and any(map(os.path.isfile, weights))):
        raise SpecError(
            f"{where}: {excerpt(folder)} holds no {ADAPTER[0]} beside {ADAPTER[1]}; give a folder that PEFT saved an "
            "adapter to"
        )
    try:
        adapter = json.loads(config.read_text(encoding="utf-8"))
        kind, ranks = adapter["peft_type"], [adapter["r"], *(adapter.get("rank_pattern") or {}).values()]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise SpecError(f"{where}: {config} is no adapter's configuration ({error!r}); save it again") from error
    if kind != "LORA" or not all(isinstance(rank, int) and rank > 0 for rank in ranks):
        raise SpecError(
            f"{where}: {config}: got peft_type {kind!r} of rank {ranks}, expected LORA; give a LoRA adapter"
        )
    return Adapter(folder, max(ranks))


def identity_of(engine: str, model: str, revision: str, dtype: str, lora: str | None = None) -> str:
    """`engine:dtype:<hash of the folder>` or `engine:dtype:owner/name@revision`, and `+lora:<hash>` of an adapter.

    Moving a folder changes nothing.
    """
    place, is_here = locate(model)
    adapted = f"+lora:{folder_hash(locate_adapter(lora).folder, ADAPTER)}" if lora else ""
    return f"{engine}:{dtype}:{_weights_hash(Path(place)) if is_here else f'{place}@{revision}'}{adapted}"


def form_of(model: str) -> Form:
    """The form of prompt that a model takes: `chat` where it has a chat template, as one that is still on a hub is
    taken to have; else `text`.

    Raises:
        SpecError: there is no such model, or its tokenizer's settings cannot be read.
    """
    place, is_here = locate(model)
    path = Path(place)
    if not is_here or any(path.glob("chat_template*")):
        return "chat"
    if path.suffix == GGUF:
        with path.open("rb") as file:  # its settings precede its weights
            return "chat" if b"tokenizer.chat_template" in file.read(WHOLE) else "text"
    try:
        settings = json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "text"
    except (OSError, ValueError) as error:
        raise SpecError(
            f"{excerpt(path)}: tokenizer_config.json cannot be read: {excerpt(error)}; correct it"
        ) from error
    return "chat" if isinstance(settings, dict) and settings.get("chat_template") else "text"


def _weights_hash(path: Path) -> str:
    return folder_hash(path.parent, (path.name,)) if path.suffix == GGUF else folder_hash(path)


def folder_hash(folder: Path, files: Sequence[str] = FILES) -> str:
    """32 hex digits over the names and contents of these files (patterns).

    A file longer than 64 MiB counts with its size and 64 slices of 1 MiB spread from its head to its tail, so that a
    big model opens in a second; weights that differ only between the slices would look the same.
    """
    total = hashlib.blake2b(digest_size=16)
    for path in sorted({path for pattern in files for path in folder.glob(pattern) if path.is_file()}):
        total.update(f"{path.name}:{path.stat().st_size}:".encode())
        total.update(_content(path))
    return total.hexdigest()


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    content = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        if size <= WHOLE:
            content.update(file.read())
        else:
            for number in range(64):
                file.seek((size - SLICE) * number // 63)
                content.update(file.read(SLICE))
    return content.digest()
