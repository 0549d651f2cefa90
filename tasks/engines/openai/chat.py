"""The chat API's dialects: the fields of a request, and how a completion is read from any server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from alignery.untrusted import excerpt
from prompts import Message
from tasks.engines.protocol import RequestRefused, Sampling
from tasks.engines.tokenization import form, split_prefill

LIMITS = ("max_tokens", "max_completion_tokens")  # the two names of one field
# A self-hosted server fills fields that a request leaves out from the model's generation_config.json or from its own
# defaults. `owned_by` in its list of models identifies it; this turns off what it would fill.
_NO_PENALTIES = {"frequency_penalty": 0.0, "presence_penalty": 0.0}
OFF: Mapping[str, Mapping[str, Any]] = {
    "vllm": {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, **_NO_PENALTIES},
    "sglang": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, **_NO_PENALTIES},
    "llamacpp": {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0, **_NO_PENALTIES},
}
# The fields with which a server continues a last turn of the assistant's; llama.cpp's needs none.
_CONTINUED = {"add_generation_prompt": False, "continue_final_message": True}
_GOES_ON: Mapping[str, Mapping[str, Any]] = {"vllm": _CONTINUED, "sglang": _CONTINUED, "llamacpp": {}}
_THOUGHTS = ("reasoning_content", "reasoning")  # the fields of a message that hold a thought
_LARGEST = 2**31 - 1  # of a count, as the lake's columns hold it
_CUT = {"length", "max_tokens", "max_output_tokens", "max_length", "model_length", "token_limit", "incomplete"}
_CUT |= {"model_context_window_exceeded", "context_length_exceeded", "context_window_exceeded"}
_UNWANTED = {
    *("content_filter", "content_filtered", "safety", "refusal", "sensitive", "guardrail_intervened", "blocklist"),
    *("recitation", "prohibited_content", "spii", "tool_calls", "tool_call", "tool_use", "function_call"),
}
_BROKEN = {"error", "abort", "aborted", "cancelled", "canceled", "timeout", "malformed_response"}
_BROKEN |= {"insufficient_system_resource", "overloaded", "server_error", "internal_error"}
_NO_SUCH_FIELD = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unknown|unexpected|not permitted|not allowed|not accept|extra_forbidden"
    r"|not a valid (?:parameter|field)|invalid (?:parameter|field|argument)|cannot both",
    re.IGNORECASE,
)

_NO_SYSTEM = re.compile(r"system (?:role|message|turn|prompt)s?\b.*(?:not|n't|un)\s*(?:be )?(?:support|allow)", re.I)


@dataclass(frozen=True)
class Reply:
    """The content of a response. `tokens` are those of the prompt, the reply, and the cached ones of the prompt."""

    text: str
    finish_reason: Literal["stop", "length"]
    tokens: tuple[int, int, int | None]
    thought: str | None = None  # if the server has taken it out of the text


def turns(messages: list[Message], owner: str = "") -> dict[str, Any]:
    """The fields for the messages. A last turn of the assistant's, which begins the reply, is sent to servers that
    continue it; the others get the turns before it, and the model may or may not write those words."""
    answered, begun = split_prefill(messages)
    if not begun:
        return {"messages": messages}
    return {"messages": messages, **_GOES_ON[owner]} if owner in _GOES_ON else {"messages": answered}


def fields(sampling: Sampling, owner: str = "") -> dict[str, Any]:
    """The request's fields: the recorded sampling is sent, so that it is the one that was used.

    Temperature and top_p always. The rest, at its default, means the same everywhere, and vendors refuse unknown
    fields: so it is sent only if it is not the default, or if the server (`owner`) would fill it.
    """
    always: dict[str, Any] = {"max_tokens": sampling.max_tokens, "temperature": sampling.temperature}
    always |= {"top_p": sampling.top_p, **OFF.get(owner, {})}
    optional = {
        "top_k": (sampling.top_k, 0),
        "frequency_penalty": (sampling.frequency_penalty, 0.0),
        "presence_penalty": (sampling.presence_penalty, 0.0),
        "stop": (list(sampling.stop), []),
        "seed": (sampling.seed, None),
        "structured_outputs": (form(sampling), None),
    }
    return always | {name: value for name, (value, default) in optional.items() if value != default}


def body(
    model: str,
    wanted: Mapping[str, Any],
    options: Mapping[str, Any],
    limit_field: str = "max_tokens",
    most: int | None = None,
) -> dict[str, Any]:
    """A request's body: the spec's options over the fields wanted, without those that are null there.

    Args:
        limit_field: what the server calls max_tokens.
        most: if given, the limit, whatever the options say.
    """
    renamed = {limit_field if name == "max_tokens" else name: value for name, value in wanted.items()}
    whole = {"model": model, **renamed, **options}
    if most is not None:
        whole |= {name: most for name in LIMITS if whole.get(name) is not None}
    return {name: value for name, value in whole.items() if value is not None}


def advice(sent: Mapping[str, Any], refusal: str) -> str:
    """What to set in the preset if a server refuses a field by its name; empty for any other refusal."""
    if _NO_SYSTEM.search(refusal):
        return "; set system_role: false in the engine's spec"
    if not _NO_SUCH_FIELD.search(refusal):
        return ""
    named = [name for name in sent if name not in ("model", "messages", "prompt") and _names(refusal, name)]
    if not named:
        return ""
    first = min(named, key=refusal.index)
    if first == "max_tokens" and "max_completion_tokens" in refusal:
        return "; set max_tokens_field: max_completion_tokens in the engine's spec"
    return f"; leave it out with options: {{{first}: null}} in the engine's spec"


def _names(words: str, field: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9_]){re.escape(field)}(?![A-Za-z0-9_])", words) is not None


def reply(answer: Mapping[str, Any]) -> Reply:
    """The reply in an answer.

    The reason why it ended is an open vocabulary. `length` and its like are a reply cut short; a filter, a refusal and
    a tool call (none was offered) are no reply; every other word, and none, ends a whole reply if there is text.

    Raises:
        RequestRefused: it ended otherwise, or the model refused; in the server's words.
        LookupError, TypeError, ValueError, AttributeError: it is not a valid response.
    """
    choice = answer["choices"][0]
    message = choice.get("message")
    text = _text(choice["text"] if message is None else message.get("content"))
    ended = choice.get("finish_reason")
    reason = re.sub(r"[\W_]+", "_", ended[:100]).strip("_").casefold() if isinstance(ended, str) else ""
    if reason in _BROKEN:
        raise ValueError(f"the server broke off: finish_reason {reason}")
    if trouble := choice.get("error") or answer.get("error"):  # beside what it had written by then
        raise ValueError(f"the server broke off: {excerpt(trouble, 80)}")
    if not text and isinstance(message, Mapping) and (refusal := message.get("refusal")):
        raise RequestRefused(f"the model refused: {excerpt(refusal)}")
    if reason in _UNWANTED or not (text or reason in _CUT or reason in ("stop", "eos", "end_turn", "stop_sequence")):
        raise RequestRefused(f"the server ended the reply with finish_reason {excerpt(repr(ended))}")
    return Reply(text, "length" if reason in _CUT else "stop", _tokens(answer.get("usage")), _thought(message))


def _thought(message: Any) -> str | None:
    thoughts = [message.get(name) for name in _THOUGHTS] if isinstance(message, Mapping) else []
    return next((text for text in thoughts if isinstance(text, str) and text), None)


def _text(content: Any) -> str:
    """The text of a content: a string, null, or a list of parts, of which those of text count."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise TypeError("the content of a reply is a string, a list of parts or null")
    parts = [part if isinstance(part, str) else _part(part) for part in content]
    return "".join(parts)


def _part(part: Mapping[str, Any]) -> str:
    if part["type"] not in ("text", "output_text"):
        return ""
    if not isinstance(part["text"], str):
        raise TypeError("a part's text is a string")
    return part["text"]


def _tokens(usage: Any) -> tuple[int, int, int | None]:
    """Tokens of prompt and reply, 0 where they are not known, and of the prompt those that were cached."""
    usage = usage if isinstance(usage, Mapping) else {}
    details = usage.get("prompt_tokens_details")
    cached = count(details.get("cached_tokens")) if isinstance(details, Mapping) else None
    return count(usage.get("prompt_tokens")) or 0, count(usage.get("completion_tokens")) or 0, cached


def count(value: Any) -> int | None:
    """A whole number that a column of the lake holds; else None, as an invalid count must not fail it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
        return None
    return int(value) if value == int(value) else None
