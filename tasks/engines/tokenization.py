"""Prompts to tokens, and replies to text, the same for all engines with a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jinja2

from alignery.untrusted import excerpt
from prompts import Form, Message
from tasks.engines.protocol import RequestRefused, Sampling, SpecError, spellings


def encode(
    tokenizer: Any, prompt: str | list[Message], variables: Mapping[str, Any] = MappingProxyType({})
) -> list[int]:
    """Token ids of a prompt: a text with its special tokens (BOS, no EOS); messages through the chat template.

    The template writes its own special tokens, so none are added to what it renders. A last turn of the assistant's
    begins the reply, which the model continues. If the template has no system turn, its text is put at the start of the
    user's first turn.

    Args:
        variables: further ones of the chat template.

    Raises:
        RequestRefused: the model has no chat template, or its template will not take these messages.
    """
    if isinstance(prompt, str):
        ids = _ids(tokenizer, prompt)
        # Some tokenizers close every text with EOS; a prompt is a text to be continued.
        return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids
    if tokenizer.chat_template is None:
        raise RequestRefused("the model has no chat template; set form: text in its spec, or give it one")
    turns, begun = split_prefill(prompt)

    def rendered(turns: list[Message]) -> str:
        return str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False, **variables))

    try:
        text = rendered(turns)
    except jinja2.TemplateError as error:
        try:
            text = rendered(without_system(turns))
        except jinja2.TemplateError:
            roles = [message["role"] for message in prompt]
            raise RequestRefused(
                f"the model's chat template refuses messages with the roles {roles}: {excerpt(error)}"
            ) from error
    return _ids(tokenizer, text + begun, special=False)


def split_prefill(messages: list[Message]) -> tuple[list[Message], str]:
    """The turns that are answered, and the words that the answer begins with."""
    *turns, last = messages
    return (turns, last["content"]) if last["role"] == "assistant" and turns else (messages, "")


def without_system(messages: list[Message]) -> list[Message]:
    """The same without a system turn: the user's first turn begins with its words."""
    if len(messages) < 2 or messages[0]["role"] != "system":
        return messages
    system, first, *rest = messages
    return [first | {"content": f"{system['content']}\n\n{first['content']}"}, *rest]


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of new tokens as the model wrote it: without special tokens, and with all its spaces."""
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def encode_options(tokenizer: Any, options: Sequence[str]) -> list[list[int]]:
    """Token ids of each option, as a continuation of a prompt. Raises RequestRefused where one has no token."""
    ids = [_ids(tokenizer, option, special=False) for option in options]
    if empty := [option for option, option_ids in zip(options, ids, strict=True) if not option_ids]:
        raise RequestRefused(f"the options {empty} are no token of the model; give words")
    return ids


def encode_spellings(tokenizer: Any, options: Sequence[str]) -> list[tuple[int, list[int]]]:
    """Token ids of every spelling of the options, each once, with the place of its option.

    Raises:
        RequestRefused: an option has no token.
    """
    encode_options(tokenizer, options)
    ids = {tuple(_ids(tokenizer, text, special=False)): place for place, text in reversed(spellings(options))}
    return [(place, list(tokens)) for tokens, place in ids.items() if tokens]


def _ids(tokenizer: Any, text: str, special: bool = True) -> list[int]:
    """The same as calling the tokenizer, but faster: the call also makes masks and more."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    # Settings that the call would undo or make first: then the call is used.
    if backend is None or backend.truncation or backend.padding or tokenizer.split_special_tokens:
        return list(tokenizer(text, add_special_tokens=special)["input_ids"])
    return list(backend.encode(text, add_special_tokens=special).ids)


def check_form(form: Form, model: str, tokenizer: Any) -> None:
    """Raises SpecError if a model gets messages and has no chat template: that is not an error of a row."""
    if form == "chat" and tokenizer.chat_template is None:
        raise SpecError(
            f"engine.form: {excerpt(model)} has no chat template, as a base model has none; set form: text, or "
            "give its tokenizer a chat template"
        )


def check_length(tokens_in: int, max_tokens: int, context: int) -> None:
    """Raises RequestRefused for an empty prompt, or one that exceeds the context with its reply (in tokens)."""
    if not tokens_in:
        raise RequestRefused("the prompt is empty and the model has no token that begins a text; give words")
    if tokens_in + max_tokens > context:
        raise RequestRefused(
            f"prompt too long: {tokens_in} tokens and max_tokens {max_tokens} exceed the context of {context}; "
            "shorten the prompt or lower max_tokens"
        )


def form(sampling: Sampling) -> dict[str, Any] | None:
    """The constraint on a reply, as vLLM's StructuredOutputsParams."""
    if sampling.choices:
        return {"choice": list(sampling.choices)}
    return None if sampling.pattern is None else {"regex": sampling.pattern}


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """The text up to the first stop string in it, and whether there was one."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def tidy(text: str) -> str:
    """A reply's text without the one space that joins it to its prompt; every engine does the same."""
    return text.removeprefix(" ")
