"""Engine specs, as a preset holds them: data, which `tasks.engines.factory` opens."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from alignery.hashing import digest
from alignery.untrusted import excerpt
from prompts import Form
from tasks.engines.identity import form_of, identity_of
from tasks.engines.protocol import SpecError
from tasks.engines.scripted import ScriptedEngine
from tasks.evaluate.suites.constraints import Constraint


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    # Of the prompts that the model is sent: messages, or texts that a model without a chat template goes on with.
    form: Literal["auto", "chat", "text"] = "auto"

    @property
    def prompt_form(self) -> Form:
        """The form itself: `auto` is what the model's own files say, and messages where none are here."""
        return "chat" if self.form == "auto" else self.form


class _Weights(_Spec):
    """`model` is a folder, or `owner/name` on a hub (see `identity.locate` for the rule between them), or, with
    `engine: transformers`, a .gguf file."""

    engine: str
    dtype: str
    model: str = Field(min_length=1)
    revision: str = "main"  # of a hub model
    lora: str | None = Field(default=None, min_length=1)  # folder of an adapter of the model, as PEFT saves it
    chat_template_kwargs: dict[str, Any] = {}  # further variables of the model's chat template, as enable_thinking

    @property
    def prompt_form(self) -> Form:
        return form_of(self.model) if self.form == "auto" else self.form

    def identity(self) -> str:
        """What its engine is known by in a work key, without loading it. Raises SpecError where there is no model."""
        known = identity_of(self.engine, self.model, self.revision, self.dtype, self.lora)
        return known + (f":{digest(self.chat_template_kwargs)}" if self.chat_template_kwargs else "")


class TransformersSpec(_Weights):
    """The embedded engine. Sizes are our choice; small models on a CPU want `threads: 1`."""

    engine: Literal["transformers"]
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "auto"  # 'auto' is cuda where there is one
    batch_size: int = Field(default=128, ge=1)
    max_wait_ms: float = Field(default=5.0, ge=0)  # an idle engine waits so long for company before it starts
    threads: int | None = Field(default=None, ge=1)
    context: int | None = Field(default=None, ge=2)  # tokens; null takes the model's own

    @property
    def places(self) -> int:
        """How many requests may be on their way at once."""
        return self.batch_size


class RewardSpec(_Weights):
    """A reward model, which scores answers and writes none: a transformers model of one label, as the recipe `reward`
    saves it. Sizes are our choice."""

    engine: Literal["reward"]
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    form: Literal["chat"] = "chat"
    lora: None = None  # the recipe merges its adapter
    device: str = "auto"  # 'auto' is cuda where there is one
    batch_size: int = Field(default=64, ge=1)
    threads: int | None = Field(default=None, ge=1)
    context: int | None = Field(default=None, ge=2)  # tokens; null takes the model's own

    @property
    def places(self) -> int:
        """How many requests may be on their way at once."""
        return self.batch_size


def _without_remote_code(options: dict[str, Any]) -> dict[str, Any]:
    if options.get("trust_remote_code"):
        raise ValueError("got trust_remote_code, expected none: a model's own code is never run; drop it")
    return options


class VllmSpec(_Weights):
    """vLLM in this process. `options` go to vLLM's AsyncEngineArgs as they are; null leaves vLLM its default."""

    engine: Literal["vllm"]
    dtype: str = "auto"
    max_model_len: int | None = Field(default=None, ge=2)
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    tensor_parallel_size: int = Field(default=1, ge=1)  # GPUs that hold one model together
    data_parallel_size: int = Field(default=1, ge=1)  # such models, between which the requests are shared out
    in_flight: int | None = Field(default=None, ge=1)  # requests at once, for each; null: half more than vLLM batches
    options: Annotated[dict[str, Any], AfterValidator(_without_remote_code)] = {}

    @property
    def places(self) -> int:
        """How many requests may be on their way at once, at most: vLLM batches 1024 on the largest GPUs."""
        batch = self.options.get("max_num_seqs")
        return self.at_once(batch if isinstance(batch, int) else 1024)

    def at_once(self, batch: int) -> int:
        """The same where vLLM batches so many: half more, so that some wait for the next place that is free."""
        return (self.in_flight or math.ceil(1.5 * batch)) * self.data_parallel_size


def _is_url(url: Any) -> bool:
    if not (isinstance(url, str) and url.isprintable() and re.fullmatch(r"https?://[^@?#,\s\\]+", url)):
        return False
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")  # what a name is written in on the way
        return bool(host) and parts.port != 0 and not parts.netloc.endswith(":")
    except ValueError:  # a port out of range, brackets of no address, a name that is none
        return False


def _base_urls(given: Any) -> Any:
    """One URL, several with commas between them (as an environment variable holds them), or a list."""
    urls = [url.strip().rstrip("/") for url in given.split(",")] if isinstance(given, str) else given
    sound = isinstance(urls, list | tuple) and urls and all(map(_is_url, urls))
    if not sound or len(set(urls)) < len(urls):
        raise ValueError(
            "expected http(s)://host:port/v1, without user, password, '?' or '#'; one, or a list without twins"
        )
    return tuple(url.rstrip("/") for url in urls)


class OpenAISpec(_Spec):
    """Any OpenAI-compatible server, or several that serve the same model.

    The key is read from the environment variable `api_key_env`, if that is set. Times are seconds; there are no others.
    A chat template's variables are options: `options: {chat_template_kwargs: {enable_thinking: false}}`.
    Dialects differ: a field that the server refuses is left out with null, as in `options: {seed: null, top_k: null}`,
    and `max_tokens_field: max_completion_tokens` renames the limit. Neither moves a key of work unless it is an option.
    """

    engine: Literal["openai"]
    # Up to and with /v1; recorded, so without a key.
    base_url: Annotated[tuple[str, ...], BeforeValidator(_base_urls, json_schema_input_type=str | tuple[str, ...])]
    model: str = Field(min_length=1)
    known_as: str | None = Field(default=None, min_length=1)  # in work keys, in place of the first base_url
    api_key_env: str = "OPENAI_API_KEY"
    in_flight: int = Field(default=64, ge=1)  # requests at once, for each base_url
    connect_timeout_s: float = Field(default=10.0, gt=0)
    read_timeout_s: float | None = Field(default=None, gt=0)  # of silence; null: as long as timeout_s
    timeout_s: float = Field(default=600.0, gt=0)  # of one try of a request, from its first byte to its answer's last
    probe_timeout_s: float = Field(default=30.0, gt=0)  # of the one token that a server in doubt is asked for
    give_up_after_s: float = Field(default=300.0, gt=0)  # of servers that answer nobody
    first_pause_s: float = Field(default=0.5, gt=0)  # before a try where no Retry-After says how long; it doubles
    longest_pause_s: float = Field(default=30.0, gt=0)
    retries: int = Field(default=4, ge=0)  # of a request that fails where others are answered
    max_answer_bytes: int = Field(default=16 << 20, ge=1)
    choose_draws: int = Field(default=16, ge=1)  # replies to a choice, where the server has no log-probabilities
    system_role: bool = True  # false: a system turn's words begin the user's first turn
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # what the server calls it
    options: dict[str, Any] = {}  # further fields of every request's body; null leaves a field out

    @property
    def places(self) -> int:
        """How many requests may be on their way at once."""
        return self.in_flight * len(self.base_url)

    def identity(self) -> str:
        """Names the service by its first URL (or `known_as`), the model and the options.

        So a further server changes nothing, nor does a model that moves, if `known_as` says where it was.
        """
        options = f":{digest(self.options)}" if self.options else ""
        return f"openai:{self.known_as or self.base_url[0]}:{self.model}{options}"


class VerifierSpec(_Spec):
    """A program that scores answers: the share of these constraints that each keeps."""

    engine: Literal["verifier"]
    form: Literal["chat"] = "chat"
    constraints: tuple[Constraint, ...] = Field(min_length=1)  # as a suite has them: {check: words, most: 100}, …

    @property
    def places(self) -> int:
        """How many requests may be on their way at once."""
        return 64

    def identity(self) -> str:
        return f"verifier:{digest([one.model_dump(mode='json') for one in self.constraints])}"


class ScriptedSpec(_Spec):
    """For tests: the replies are served in turn, from the top again when they run out."""

    engine: Literal["scripted"]
    replies: list[str] = Field(min_length=1)

    @property
    def places(self) -> int:
        """How many requests may be on their way at once."""
        return 64

    def identity(self) -> str:
        return ScriptedEngine(self.replies).identity


EngineSpec = Annotated[
    TransformersSpec | VllmSpec | RewardSpec | OpenAISpec | VerifierSpec | ScriptedSpec, Field(discriminator="engine")
]
_ADAPTER: TypeAdapter[EngineSpec] = TypeAdapter(EngineSpec)


def parse_spec(data: Mapping[str, Any], where: str = "engine") -> EngineSpec:
    """A spec from a preset's mapping; `where` names the file and field in the error.

    Raises:
        SpecError: an unknown engine or key, or a value out of range.
    """
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
    # Not in the handler: pydantic's own error says the input again, and a password in it.
    field = ".".join(str(part) for part in first["loc"])
    raise SpecError(f"{where}: {field or 'the spec'}: {first['msg']} (got {excerpt(repr(first['input']))})")
