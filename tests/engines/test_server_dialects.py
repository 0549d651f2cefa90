"""The chat API as servers speak it: fields that they refuse or fill, words that end a reply, shapes of its content."""

from __future__ import annotations

import asyncio

import pytest
from faulty import CHAT, QUESTION, Act, Faulty, ask, error, ok, spec

from tasks.engines import RequestRefused, Sampling, open_engine
from tasks.engines.openai.chat import advice, count, reply


def asked(script, *prompts, owner="somebody", **changes):
    """What came of the prompts, and the server that was asked."""

    async def main():
        async with Faulty(script, owner) as server:
            return await ask(server.url, *prompts, **changes), server

    return asyncio.run(main())


def sent(owner="somebody", sampling=Sampling(max_tokens=9), **changes):
    _, server = asked(lambda words, number: ok(), "x", owner=owner, sampling=sampling, **changes)
    return server.seen[0][1]


def test_a_users_options_win_over_the_fields_of_a_step():
    assert sent(options={"temperature": 0.1}, sampling=Sampling(0.7))["temperature"] == 0.1


def test_an_option_that_is_null_leaves_its_field_out_of_every_request():
    dropped = {"seed": None, "top_k": None, "temperature": None, "max_tokens": None}
    chosen = {"max_completion_tokens": 512}
    sampling = Sampling(0.7, top_k=5, seed=3)
    assert sent(sampling=sampling, options=dropped | chosen) == {"model": "m", "prompt": "x", "top_p": 1.0} | chosen

    def script(words, number):
        return ok(" yes", logprobs={"top_logprobs": [{" yes": -0.1, " no": -3.0}]}) if number else error(500)

    async def main():
        async with Faulty(script) as server, open_engine(spec(server.url, options=dropped | chosen)) as engine:
            await engine.choose("x", [" yes", " no"])
            return server

    server = asyncio.run(main())
    bodies = [body for _, body, _, _ in server.seen]
    assert not [body for body in bodies if body.keys() & dropped.keys()]
    assert {body["max_completion_tokens"] for body in bodies} == {1}  # of a choice, whatever the options say


def test_the_limit_has_the_name_that_the_spec_gives_it_in_the_question_to_a_server_in_doubt_too():
    script = lambda words, number: ok() if words.startswith(QUESTION) else error(500)  # noqa: E731
    _, server = asked(script, "x", retries=0, max_tokens_field="max_completion_tokens", options={"max_tokens": None})
    limits = {body["max_completion_tokens"] for _, body, _, _ in server.seen}
    assert limits == {9, 1}
    assert not [body for _, body, _, _ in server.seen if "max_tokens" in body]


@pytest.mark.parametrize(
    ("owner", "filled"),
    [
        ("vllm", {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}),
        ("llamacpp", {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}),
        ("somebody", {}),
    ],
)
def test_what_is_recorded_is_sent_and_what_a_server_of_ones_own_would_fill_is_turned_off(owner, filled):
    plain = {"model": "m", "prompt": "x", "max_tokens": 9, "temperature": 0.0, "top_p": 1.0}
    filled |= {"frequency_penalty": 0.0, "presence_penalty": 0.0} if filled else {}
    assert sent(owner) == plain | filled
    assert sent(owner, Sampling(max_tokens=9, top_k=7)) == plain | filled | {"top_k": 7}
    assert "top_k" not in sent(owner, options={"top_k": None})


def test_the_list_of_models_is_asked_for_once_and_one_that_cannot_be_had_fails_nobody():
    refusals = [error(404, "no such path"), error(500, "no"), Act(body={"data": "none"}), Act(body={"data": [1, {}]})]
    for refusal in refusals:
        script = lambda words, number, refusal=refusal: refusal if words == "/v1/models" else ok()  # noqa: E731
        replies, server = asked(script, *"abcdef", owner=None, retries=1)
        assert {reply.text for reply in replies} == {"fine"}
        assert server.asked["/v1/models"] <= 3


def test_a_request_that_is_cancelled_while_it_asks_for_the_list_of_models_leaves_the_others_theirs():
    async def main():
        listed = lambda number: Act(body={"data": []}, end="whole" if number else "stall")  # noqa: E731
        script = lambda words, number: listed(number) if words == "/v1/models" else ok()  # noqa: E731
        async with Faulty(script, owner=None) as server, open_engine(spec(server.url)) as engine:
            asked = [asyncio.ensure_future(engine.generate("x", Sampling())) for _ in range(3)]
            while not server.asked["/v1/models"]:
                await asyncio.sleep(0.01)
            asked[0].cancel()
            return await asyncio.gather(*asked, return_exceptions=True), server.asked["/v1/models"]

    (first, *others), times = asyncio.run(main())
    assert isinstance(first, asyncio.CancelledError)
    assert [reply.text for reply in others] == ["fine", "fine"]
    assert times == 2


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        ("Unsupported parameter: 'top_k' is not supported with this model.", "options: {top_k: null}"),
        ('property "seed" is unsupported', "options: {seed: null}"),
        ("Unrecognized request argument supplied: top_k", "options: {top_k: null}"),
        ("[{'type': 'extra_forbidden', 'loc': ['body', 'seed']}]", "options: {seed: null}"),
        ("'max_tokens' is not supported, use 'max_completion_tokens' instead.", "max_tokens_field: max_completion_tok"),
    ],
)
def test_a_field_that_a_server_refuses_is_named_with_its_fix(words, fix):
    sampling = Sampling(0.7, top_k=5, seed=3)
    (refused,), _ = asked(lambda *_: error(400, words), CHAT, sampling=sampling)
    assert isinstance(refused, RequestRefused)
    assert fix in str(refused)


@pytest.mark.parametrize("words", ["max_tokens is too large: 9000", "the prompt is not supported", "unknown model"])
def test_a_refusal_of_something_else_gets_no_advice(words):
    assert advice({"max_tokens": 9, "prompt": "x", "model": "m", "seed": 1}, words) == ""


def test_of_several_fields_the_first_that_a_refusal_names_is_meant_and_by_its_whole_name():
    sent = {"max_tokens": 9, "seed": 1, "stop": ["x"]}
    assert "{seed: null}" in advice(sent, "unknown field seed; fields such as stop and max_tokens are known")
    assert advice(sent, "unknown field seed_offset in stopwords") == ""


def test_text_beside_a_refusal_is_a_reply_and_text_comes_in_parts_of_two_names():
    parts = [{"type": "output_text", "text": "fi"}, {"type": "image"}, "n", {"type": "text", "text": "e"}]
    message = {"content": parts, "refusal": "I would rather not"}
    answer = {"choices": [{"message": message, "finish_reason": "stop"}]}
    assert reply(answer).text == "fine"
    with pytest.raises(RequestRefused, match="the model refused: I would rather not"):
        reply({"choices": [{"message": message | {"content": None}}]})


def test_a_count_is_a_whole_number_that_a_column_holds_or_none():
    assert [count(value) for value in (0, 7, 7.0, 2**31 - 1)] == [0, 7, 7, 2**31 - 1]
    assert {count(value) for value in (True, -1, 1.5, 2**31, 10**400, float("nan"), "7", None, [])} == {None}


FINISHES = {
    "stop": ["stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE", "<|im_end|>", None, 7, "odd"],
    "length": ["length", "max_tokens", "MAX_TOKENS", "model_length", "max-length", "model_context_window_exceeded"],
}


@pytest.mark.parametrize(("reason", "word"), [(reason, word) for reason, all_ in FINISHES.items() for word in all_])
def test_the_words_that_end_a_reply_are_an_open_vocabulary(reason, word):
    (reply,), _ = asked(lambda words, number: ok("fine", word), CHAT)
    assert (reply.text, reply.finish_reason) == ("fine", reason)


@pytest.mark.parametrize("word", ["content_filter", "SAFETY", "refusal", "tool_calls", "function_call"])
def test_a_reply_that_was_stopped_by_a_filter_or_calls_a_tool_is_refused_in_that_word(word):
    (refused,), server = asked(lambda words, number: ok("half of", word), CHAT)
    assert isinstance(refused, RequestRefused)
    assert word in str(refused)
    assert server.rows.total() == 1


def test_an_empty_reply_of_an_unknown_end_is_refused_and_one_that_broke_off_is_asked_again():
    (refused,), _ = asked(lambda words, number: ok("", "odd"), CHAT)
    assert "finish_reason 'odd'" in str(refused)
    for word in ("error", "insufficient_system_resource"):
        (reply,), _ = asked(lambda words, number, word=word: ok("whole") if number else ok("ha", word), CHAT)
        assert reply.text == "whole"


@pytest.mark.parametrize("place", ["choice", "answer"])
def test_an_error_beside_the_text_is_a_reply_that_broke_off(place):
    choice = {"message": {"content": "half of"}, "finish_reason": "stop"}
    trouble = {"error": {"code": 502, "message": "upstream"}}
    answer = {"choices": [choice | trouble]} if place == "choice" else {"choices": [choice]} | trouble
    with pytest.raises(ValueError, match=r"the server broke off: .*502"):
        reply(answer)
    assert reply({"choices": [choice | {"error": None}], "error": None}).text == "half of"


def test_the_thought_of_a_reasoning_model_is_no_part_of_its_text():
    replies = {
        "tags": ok("<think>Hm.\nWhat END?</think>\n\nfine"),
        "its end": ok("Hm.</think>fine"),
        "cut": ok("<think>Hm", "length"),
        "parts": ok([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "fine"}]),
        "field": Act(body={"choices": [{"message": {"content": "fine", "reasoning_content": "Hm."}}]}),
    }
    found, _ = asked(lambda words, number: replies[words], *replies, sampling=Sampling(stop=("END",)))
    assert [(reply.text, reply.finish_reason) for reply in found] == [
        *[("fine", "stop")] * 2,
        ("", "length"),
        *[("fine", "stop")] * 2,
    ]
