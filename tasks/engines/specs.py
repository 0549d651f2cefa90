"""Engine specs, as a preset holds them: data, which `tasks.engines.factory` opens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from alignery.hashing import digest
from alignery.untrusted import excerpt
from prompts import Form
from tasks.engines.identity import form_of, identity_of
from tasks.engines.protocol import SpecError
from tasks.engines.scripted import ScriptedEngine
from tasks.engines.urls import base_urls
from tasks.evaluate.suites.constraints import Constraint


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    # Of the prompts that the model is sent: messages, or texts that a model without a chat template goes on with.
    form: Literal["auto", "chat", "text"] = "auto"

    @property
    def prompt_form(self) -> Form:
        """The form itself: `auto` follows the model's own files, or is messages if none are here."""
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
        """The engine's identity in a work key, without loading it. Raises SpecError if there is no model."""
        known = identity_of(self.engine, self.model, self.revision, self.dtype, self.lora)
        return known + (f":{digest(self.chat_template_kwargs)}" if self.chat_template_kwargs else "")

    def with_weights(self, model: str) -> Self:
        """The same with another model, which an adapter is part of already."""
        return self.model_copy(update={"model": model, "lora": None})


class TransformersSpec(_Weights):
    """The embedded engine. Sizes are our choice; small models on a CPU want `threads: 1`."""

    engine: Literal["transformers"]
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "auto"  # 'auto' is cuda where there is one
    batch_size: int = Field(default=128, ge=1)
    max_wait_ms: float = Field(default=5.0, ge=0)  # an idle engine waits this long for further requests
    threads: int | None = Field(default=None, ge=1)
    context: int | None = Field(default=None, ge=2)  # tokens; null takes the model's own

    @property
    def places(self) -> int:
        """How many requests may be in flight at once."""
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
        """How many requests may be in flight at once."""
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
    data_parallel_size: int = Field(default=1, ge=1)  # copies of the model, between which requests are divided
    in_flight: int | None = Field(default=None, ge=1)  # requests at once, for each; null: half more than vLLM batches
    options: Annotated[dict[str, Any], AfterValidator(_without_remote_code)] = {}

    @property
    def places(self) -> int:
        """How many requests may be in flight at once, at most: vLLM batches 1024 on the largest GPUs."""
        batch = self.options.get("max_num_seqs")
        return self.at_once(batch if isinstance(batch, int) else 1024)

    def at_once(self, batch: int) -> int:
        """The same if vLLM batches that many: half as many again, so that some wait for the next free place."""
        return (self.in_flight or math.ceil(1.5 * batch)) * self.data_parallel_size


class Watch(BaseModel):
    """Servers that come and go: each file of a folder holds the address of one; removing the file removes the server.

    Prompts and the API key are sent to every address in the folder, so write access to it must be restricted. Files
    whose names begin with a dot are ignored.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    watch: str = Field(min_length=1)
    every_s: float = Field(default=2.0, gt=0)
    expect: int = Field(default=16, ge=1)  # servers; sets how many rows are in flight at once


class OpenAISpec(_Spec):
    """Any OpenAI-compatible server, or several that serve the same model: `base_url`, or `servers` that come and go.

    The key is read from the environment variable `api_key_env`, if that is set. Times are seconds; there are no others.
    A chat template's variables are options: `options: {chat_template_kwargs: {enable_thinking: false}}`.
    Dialects differ: a field that the server refuses is left out with null, as in `options: {seed: null, top_k: null}`,
    and `max_tokens_field: max_completion_tokens` renames the limit. Neither moves a key of work unless it is an option.
    """

    engine: Literal["openai"]
    # Up to and with /v1; recorded, so without a key.
    base_url: Annotated[tuple[str, ...], BeforeValidator(base_urls, json_schema_input_type=str | tuple[str, ...])] = ()
    servers: Watch | None = None
    model: str = Field(min_length=1)
    known_as: str | None = Field(
        default=None, min_length=1
    )  # in work keys, in place of the first base_url or `servers`
    api_key_env: str = "OPENAI_API_KEY"
    in_flight: int = Field(default=64, ge=1)  # requests at once, for each base_url
    connect_timeout_s: float = Field(default=10.0, gt=0)
    read_timeout_s: float | None = Field(default=None, gt=0)  # of silence; null: as long as timeout_s
    timeout_s: float = Field(default=600.0, gt=0)  # of one try of a request, from its first byte to its answer's last
    probe_timeout_s: float = Field(default=30.0, gt=0)  # of a health check, a request for one token
    give_up_after_s: float = Field(default=300.0, gt=0)  # without any answer, or any server in the folder
    first_pause_s: float = Field(default=0.5, gt=0)  # before a try where no Retry-After says how long; it doubles
    longest_pause_s: float = Field(default=30.0, gt=0)
    retries: int = Field(default=4, ge=0)  # of a request that fails while others are answered
    max_answer_bytes: int = Field(default=16 << 20, ge=1)
    choose_draws: int = Field(default=16, ge=1)  # replies to a choice, where the server has no log-probabilities
    system_role: bool = True  # false: a system turn's words begin the user's first turn
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # what the server calls it
    options: dict[str, Any] = {}  # further fields of every request's body; null leaves a field out

    @property
    def places(self) -> int:
        """How many requests may be in flight at once."""
        return self.in_flight * (self.servers.expect if self.servers else len(self.base_url))

    @model_validator(mode="after")
    def _has_servers(self) -> Self:
        if bool(self.base_url) == bool(self.servers):
            got = "both" if self.servers else "neither"
            raise ValueError(f"base_url: got {got} base_url and servers, expected one of them; correct the spec")
        return self

    def identity(self) -> str:
        """Names the service by its first URL (or `known_as`; of servers that come and go, "servers"), the model and the
        options.

        So further servers do not change it, nor does a new address of the model, if `known_as` has the old one.
        """
        options = f":{digest(self.options)}" if self.options else ""
        name = self.known_as or (self.base_url[0] if self.base_url else "servers")
        return f"openai:{name}:{self.model}{options}"


class VerifierSpec(_Spec):
    """A program that scores answers: the share of these constraints that each meets."""

    engine: Literal["verifier"]
    form: Literal["chat"] = "chat"
    constraints: tuple[Constraint, ...] = Field(min_length=1)  # as a suite has them: {check: words, most: 100}, …

    @property
    def places(self) -> int:
        """How many requests may be in flight at once."""
        return 64

    def identity(self) -> str:
        return f"verifier:{digest([one.model_dump(mode='json') for one in self.constraints])}"


class ScriptedSpec(_Spec):
    """For tests: the replies are served in turn, from the top again when they run out."""

    engine: Literal["scripted"]
    replies: list[str] = Field(min_length=1)
    latency_s: float = Field(default=0.0, ge=0)  # of each reply

    @property
    def places(self) -> int:
        """How many requests may be in flight at once."""
        return 64

    def identity(self) -> str:
        return ScriptedEngine(self.replies).identity


class Bounds(BaseModel):
    """How many replicas there are: more while requests wait for a place, fewer while many places are empty. Seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: int = Field(ge=1)
    max: int = Field(ge=1)
    up_after_s: float = Field(default=10.0, gt=0)
    down_after_s: float = Field(default=120.0, gt=0)

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min: got {self.min}, which is more than max, {self.max}; correct one")
        return self


def _bounds(given: Any) -> Any:
    """One number is both bounds."""
    return {"min": given, "max": given} if isinstance(given, int) and not isinstance(given, bool) else given


def _on_cluster(address: str | None) -> str | None:
    if address and "://" in address:
        raise ValueError("got Ray's client protocol, expected host:port or auto, of a cluster that this host is in")
    return address


class RaySpec(_Spec):
    """The engine `of` in several processes that Ray places, each a replica with the whole model. It has that engine's
    identity, so work keys do not depend on where it runs. Times are seconds.
    """

    engine: Literal["ray"]
    form: Literal["auto"] = "auto"  # `of` has it
    of: Annotated[TransformersSpec | VllmSpec | RewardSpec | ScriptedSpec, Field(discriminator="engine")]
    replicas: Annotated[Bounds, BeforeValidator(_bounds, json_schema_input_type=int | Bounds)] = Bounds(min=1, max=1)
    # host:port of a cluster, or auto; null: the environment variable RAY_ADDRESS, else a cluster on this machine for as
    # long as the engine is open.
    address: Annotated[str | None, AfterValidator(_on_cluster)] = None
    # What Ray reserves for a replica, in place of the defaults from `of`: a CPU (`threads`), and vLLM's GPUs.
    resources: dict[str, Annotated[float, Field(ge=0)]] = {}
    place_within_s: float = Field(default=120.0, gt=0)  # then the cluster has no room for the replica
    give_up_after_s: float = Field(default=1800.0, gt=0)  # without any answer, while models are loaded
    retries: int = Field(default=4, ge=0)  # of a request whose replica died
    first_pause_s: ClassVar[float] = 1.0
    longest_pause_s: ClassVar[float] = 30.0

    @model_validator(mode="after")
    def _takes_something(self) -> Self:
        if not all(self.bundles):
            raise ValueError(
                f"resources: got {self.resources}, with which a replica takes nothing; give it a part of a CPU"
            )
        return self

    @property
    def prompt_form(self) -> Form:
        return self.of.prompt_form

    @property
    def model(self) -> str:
        return self.of.engine if isinstance(self.of, ScriptedSpec) else self.of.model

    @property
    def in_flight(self) -> int:
        """Requests at once, for each replica."""
        return self.of.places

    @property
    def places(self) -> int:
        """How many requests may be in flight at once."""
        return self.in_flight * self.replicas.max

    @property
    def bundles(self) -> list[dict[str, float]]:
        """The resources that Ray reserves for a replica: one bundle, on one host; or a bundle for each GPU, which may
        be on several hosts, with vLLM's Ray backend (`options: {distributed_executor_backend: ray}`)."""
        cpus, gpus = float(getattr(self.of, "threads", None) or 1), 0
        if isinstance(self.of, VllmSpec):
            pipeline = self.of.options.get("pipeline_parallel_size")
            gpus = self.of.tensor_parallel_size * self.of.data_parallel_size
            gpus *= pipeline if isinstance(pipeline, int) else 1
        if gpus > 1 and isinstance(self.of, VllmSpec) and self.of.options.get("distributed_executor_backend") == "ray":
            return [{"CPU": cpus, "GPU": 1.0} | self.resources] * gpus
        whole = {"CPU": cpus, "GPU": float(gpus)} | self.resources
        return [{name: amount for name, amount in whole.items() if amount}]

    def identity(self) -> str:
        return self.of.identity()

    def with_weights(self, model: str) -> Self:
        """The same with another model."""
        assert not isinstance(self.of, ScriptedSpec)
        return self.model_copy(update={"of": self.of.with_weights(model)})


EngineSpec = Annotated[
    TransformersSpec | VllmSpec | RewardSpec | OpenAISpec | VerifierSpec | ScriptedSpec | RaySpec,
    Field(discriminator="engine"),
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
