"""Forms of a prompt in each engine: a chat whose reply is begun, one without a system turn, a text for a base model."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from faulty import Faulty, ask, ok

from prompts import Message
from tasks.engines import RequestRefused, Sampling, SpecError, open_engine
from tasks.engines.identity import form_of
from tasks.engines.specs import parse_spec
from tasks.engines.tokenization import encode

ASKED: list[Message] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
BEGUN: list[Message] = [*ASKED, {"role": "assistant", "content": "Thought:"}]
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"


@pytest.fixture
def tokenizer(tiny: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


def rendered(tokenizer: Any, prompt: list[Message], **variables: Any) -> str:
    return str(tokenizer.decode(encode(tokenizer, prompt, variables)))


def test_a_last_turn_of_the_assistants_begins_the_reply(tokenizer: Any) -> None:
    assert rendered(tokenizer, BEGUN) == "<s>system: Be brief.\nuser: Hi\nassistant:Thought:"
    assert rendered(tokenizer, ASKED).endswith("assistant:")


def test_a_template_without_a_system_turn_gets_its_words_in_the_users_first(tokenizer: Any) -> None:
    tokenizer.chat_template = NO_SYSTEM + tokenizer.chat_template
    assert rendered(tokenizer, BEGUN) == "<s>user: Be brief.\n\nHi\nassistant:Thought:"
    tokenizer.chat_template = "{{ raise_exception('takes nothing') }}"
    with pytest.raises(RequestRefused, match=r"refuses messages with the roles \['system', 'user'\]: takes nothing"):
        encode(tokenizer, ASKED)


def test_a_chat_template_gets_the_variables_of_the_spec(tokenizer: Any, tiny: Path) -> None:
    tokenizer.chat_template = "{{ mood }}" + tokenizer.chat_template
    assert rendered(tokenizer, ASKED, mood="calm").startswith("calm<s>")
    plain, moody = (
        parse_spec({"engine": "transformers", "model": str(tiny)} | more).identity()
        for more in ({}, {"chat_template_kwargs": {"mood": "calm"}})
    )
    assert moody.startswith(f"{plain}:"), "what was asked without them keeps its key"


@pytest.mark.parametrize(
    ("files", "form"),
    [
        ({"tokenizer_config.json": {}}, "text"),
        ({}, "text"),
        ({"tokenizer_config.json": {"chat_template": "{{ x }}"}}, "chat"),
        ({"tokenizer_config.json": {"chat_template": None}}, "text"),
        ({"tokenizer_config.json": {}, "chat_template.jinja": "{{ x }}"}, "chat"),
    ],
)
def test_a_models_files_say_which_form_it_takes(files: dict[str, Any], form: str, tmp_path: Path) -> None:
    for name, content in ({"config.json": {}} | files).items():
        (tmp_path / name).write_text(json.dumps(content))
    spec = {"engine": "transformers", "model": str(tmp_path)}
    assert form_of(str(tmp_path)) == parse_spec(spec).prompt_form == form
    assert parse_spec(spec | {"form": "chat"}).prompt_form == "chat"


@pytest.mark.parametrize(("head", "form"), [(b"tokenizer.chat_template", "chat"), (b"tokenizer.ggml.tokens", "text")])
def test_a_gguf_file_is_a_model(head: bytes, form: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + head + b"\0" * 64)
    spec = parse_spec({"engine": "transformers", "model": str(path)})
    assert spec.prompt_form == form
    before = spec.identity()
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    assert spec.identity() == before, "its own bytes alone"
    path.write_bytes(b"GGUF" + head + b"\1" * 64)
    assert spec.identity() != before


def test_what_is_wrong_with_a_model_is_one_sentence_before_the_first_row(tiny: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny, tmp_path / "base")
    (base / "chat_template.jinja").unlink()

    async def opened(**more: Any) -> None:
        async with open_engine({"engine": "transformers", "model": str(base), "device": "cpu"} | more):
            pass

    asyncio.run(opened())
    with pytest.raises(SpecError, match="has no chat template, as a base model has none; set form: text"):
        asyncio.run(opened(form="chat"))


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        ("vllm", {"messages": BEGUN, "add_generation_prompt": False, "continue_final_message": True}),
        ("llamacpp", {"messages": BEGUN}),
        ("somebody", {"messages": ASKED}),
    ],
)
def test_a_server_goes_on_with_the_reply_where_it_can(owner: str, expected: dict[str, Any]) -> None:
    async def main() -> Any:
        async with Faulty(lambda words, number: ok(), owner) as server:
            await ask(server.url, BEGUN, sampling=Sampling(max_tokens=9))
            return server.seen[0][1]

    body = asyncio.run(main())
    fields = ("messages", "add_generation_prompt", "continue_final_message")
    assert {name: body[name] for name in fields if name in body} == expected


def test_a_server_that_knows_no_system_turn_gets_none() -> None:
    async def main() -> Any:
        async with Faulty(lambda words, number: ok()) as server:
            await ask(server.url, ASKED, system_role=False)
            return server.seen[0][1]["messages"]

    assert asyncio.run(main()) == [{"role": "user", "content": "Be brief.\n\nHi"}]
