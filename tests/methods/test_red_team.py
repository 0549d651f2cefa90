"""Topic-guided red-teaming: topics of twenty types, cut to the smallest, and a question to each pair of both."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fuzz import outcomes, replies

from prompts import Library, QuestionType
from tasks.engines import Completion, Sampling, ScriptedEngine
from tasks.filters.contamination import Contamination
from tasks.filters.rouge import RougePool
from tasks.methods.base import CUT
from tasks.methods.red_team import method as red_team
from tasks.methods.red_team.method import AGAIN, KNOWN, Config, Topics
from tasks.methods.self_instruct import method as self_instruct
from tasks.normalise import structured
from tasks.step import ParseError, Row

TYPES = [
    QuestionType(name=name, hint=f"is about {name}", topics=[name.title()], question=f"What of {name} and its kin?")
    for name in ("law", "art", "sea")
]
KNOWN_TOPICS = {"law": ["Law", "Wills"], "art": ["Art", "Fresco", "Opera"], "sea": ["Sea", "Tides", "Salt", "Whales"]}
GATE = self_instruct.Config()


def topic_row(examples: list[str]) -> Row:
    return {"request_id": "q", "type": {"name": "law", "hint": "is about law"}, "examples": examples}


def question_row(hints: int) -> Row:
    shown = [{"question_type": "sea", "topic": "Tides", "text": "Why are there tides?"}] * 2
    pairs = [{"question_type": "law", "topic": f"Topic {n}"} for n in range(hints)]
    return {"request_id": "q", "hints": pairs, "exemplars": shown, "exemplar_ids": ["m1"]}


def test_there_are_twenty_types_each_with_a_hint_a_topic_and_a_question() -> None:
    """SELF-ALIGN (2): 20 types of our own wording, one seed question each."""
    types = Library().question_types()
    assert len({type.name for type in types}) == len({type.hint for type in types}) == 20
    assert len({type.question for type in types}) == 20
    assert all(red_team.topic_fault(type.topics[0], 3) is None for type in types)
    rows = [{"text": type.question, "reason": None} for type in types]
    judged = red_team.gate_questions(rows, RougePool(), GATE, Contamination([]))
    assert [row["text"] for row in judged if row["reason"]] == []


def test_topics_are_asked_for_ten_at_a_time_after_one_example_and_later_five(ask: Callable) -> None:
    """SELF-ALIGN (2): 10 a request; 1 example until there are 10 topics, then 5; T 1, top_p 0.98, 128 tokens."""
    few = red_team.topic_requests(TYPES, Topics(requests_per_type=2), 0, {type.name: type.topics for type in TYPES})
    assert [(row["type"]["name"], row["examples"]) for row in few[:3]] == [
        ("law", ["Law"]), ("law", ["Law"]), ("art", ["Art"])]  # fmt: skip
    assert len({row["request_id"] for row in few}) == 6
    many = {name: [f"{name} {n}" for n in range(10)] for name in KNOWN_TOPICS}
    later = red_team.topic_requests(TYPES, Topics(requests_per_type=2), 1, many)
    assert [len(set(row["examples"])) for row in later] == [5] * 6
    assert later == red_team.topic_requests(TYPES, Topics(requests_per_type=2), 1, many)
    assert not {row["request_id"] for row in few} & {row["request_id"] for row in later}
    engine = ScriptedEngine(["2. Wills\n3. Tenancy"])
    outcome = ask(red_team.topics(Library(), Topics()), few[:1], engine)
    assert "Such a question is about law" in engine.calls[0].prompt[0]["content"]
    assert "Continue the list below with items 2 to 11." in engine.calls[0].prompt[0]["content"]
    sampling = engine.calls[0].sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (1.0, 0.98, 128)
    assert [(r["question_type"], r["text"], r["request_id"]) for r in outcome.records] == [
        ("law", "Wills", few[0]["request_id"]), ("law", "Tenancy", few[0]["request_id"])]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Night trains", None),
        ("Trains that run overnight", "too long"),
        ("Night trains.", "ends with punctuation"),
        ("night trains", "starts without a capital"),
        ("Éclairs", None),
        ("éclairs", "starts without a capital"),
        ("3D printing", None),
        ("夜行列車", None),
        ("夜行列車。", "ends with punctuation"),
        ("موسيقى", None),
    ],
)
def test_a_topic_is_at_most_three_words_with_a_capital_and_no_full_stop(text: str, reason: str | None) -> None:
    """SELF-ALIGN (2): the form of topics, where the script has capitals."""
    assert red_team.topic_fault(text, 3) == reason


def test_a_type_has_each_topic_once_however_it_is_written() -> None:
    """SELF-ALIGN (2): duplicates are found within a type, ignoring capitals."""
    records = [
        {"question_type": type, "text": text, "reason": reason}
        for type, text, reason in [("law", "WILLS", None), ("art", "Wills", None), ("law", "Courts", None),
                                   ("law", "courts", None), ("law", "COURTS", None), ("law", "Judges", CUT)]
    ]  # fmt: skip
    judged = red_team.gate_topics(records, KNOWN_TOPICS, Topics())
    assert [row["reason"] for row in judged] == [KNOWN, None, None, "starts without a capital", KNOWN, CUT]
    assert [row["state"] for row in judged] == ["rejected", "accepted", "accepted", *["rejected"] * 3]
    assert red_team.joined(KNOWN_TOPICS, judged)["law"] == ["Law", "Wills", "Courts"]
    assert red_team.joined(KNOWN_TOPICS, [*judged, judged[2]])["law"] == ["Law", "Wills", "Courts"]


def test_every_type_is_cut_to_the_number_of_topics_of_the_smallest() -> None:
    """SELF-ALIGN (2): balanced topics."""
    hints = red_team.balanced(KNOWN_TOPICS)
    assert [hint["topic"] for hint in hints] == ["Law", "Art", "Sea", "Wills", "Fresco", "Tides"]
    assert [hint["question_type"] for hint in hints] == ["law", "art", "sea"] * 2


@pytest.mark.parametrize(
    ("accept", "rounds", "requests"), [(16, 1, 1), (200, 1, 5), (2000, 5, 10), (99_121, 5, 10), (0, 0, 0)]
)
def test_topics_are_asked_for_as_the_questions_need_them(accept: int, rounds: int, requests: int) -> None:
    settings = {"accept": accept} if accept else {"topics": {"rounds": 0}, "accept": 16}
    found = red_team.enough_topics(Config.model_validate(settings), 20)
    assert (found.rounds, found.requests_per_type) == (rounds, requests or 1)


def test_a_request_has_twenty_hints_and_five_exemplars_of_either_kind() -> None:
    """SELF-ALIGN (2): 20 hints, 5 seed and 5 new questions; every hint is asked for once."""
    types = Library().question_types()
    hints = [{"question_type": "law", "topic": f"Topic {n}"} for n in range(50)]
    new = [{"id": f"n{n}", "question_type": "law", "topic": "T", "text": f"New question {n}?"} for n in range(9)]
    config = Config(requests_per_round=2)
    rows = red_team.question_requests(types, hints, config, 0, new)
    assert [len(row["hints"]) for row in rows] == [20, 20]
    assert [len(row["exemplars"]) for row in rows] == [10, 10]
    assert [len(set(row["exemplar_ids"])) for row in rows] == [5, 5]
    assert rows == red_team.question_requests(types, hints, config, 0, new)
    rest = red_team.question_requests(types, hints, config, 1, new)
    assert [hint for row in (*rows, *rest) for hint in row["hints"]] == hints
    assert red_team.question_requests(types, hints, config, 2, new) == []
    first = red_team.question_requests(types, hints, config, 0, [])
    assert [(len(row["exemplars"]), row["exemplar_ids"]) for row in first] == [(10, [])] * 2


def test_questions_carry_their_type_topic_and_origin(ask: Callable) -> None:
    """SELF-ALIGN (1): each row records its origin."""
    engine = ScriptedEngine(["3. Who inherits a boat?\n4. May a cat own land?\n4. Or a dog?\n9. Stray?"])
    step = red_team.questions(Library(), Config(), GATE)
    outcome = ask(step, [question_row(2)], engine)
    assert [(r["topic"], r["question_type"], r["text"], r["reason"]) for r in outcome.records] == [
        ("Topic 0", "law", "Who inherits a boat?", None),
        ("Topic 1", "law", "May a cat own land?", None),
        ("Topic 1", "law", "Or a dog?", AGAIN),
    ]
    assert {(r["origin"], tuple(r["parents"]), r["request_id"]) for r in outcome.records} == {
        ("red_team", ("q", "m1"), "q")
    }
    (asked, shown, asked_now), sampling = engine.calls[0].prompt, engine.calls[0].sampling
    sent = asked["content"]
    assert "1. sea / Tides\n2. sea / Tides\n" in sent
    assert shown == {"role": "assistant", "content": "1. Why are there tides?\n2. Why are there tides?"}
    assert "3. law / Topic 0\n4. law / Topic 1\n" in asked_now["content"]
    assert all(f"- {type.name}: such a question {type.hint}." in sent for type in Library().question_types())
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (1.0, 0.95, 1024)
    assert step.next_row(question_row(2), outcome.records[0])["topic"] == "Topic 0"


def test_a_list_that_begins_anew_is_no_answer_to_any_hint(ask: Callable) -> None:
    engine = ScriptedEngine(["1. Who inherits?\n2. Who pays?\n3. Who?", "7. Nobody's", "3. Who inherits a boat?"])
    outcome = ask(red_team.questions(Library(), Config(), GATE), [question_row(2)], engine)
    assert [attempt["reason"] for attempt in outcome.attempts] == [
        "the list does not go on from the examples", "no question has the number of a hint", None]  # fmt: skip
    assert [record["topic"] for record in outcome.records] == ["Topic 0"]


def test_a_list_that_begins_anew_with_one_question_for_each_hint_is_read(ask: Callable) -> None:
    engine = ScriptedEngine(["**1.** Who inherits a boat?\n**2.** Who pays for a wreck?"])
    outcome = ask(red_team.questions(Library(), Config(), GATE), [question_row(2)], engine)
    assert [(record["topic"], record["text"]) for record in outcome.records] == [
        ("Topic 0", "Who inherits a boat?"),
        ("Topic 1", "Who pays for a wreck?"),
    ]


@pytest.mark.parametrize(
    ("step", "row"),
    [
        (red_team.topics(Library(), Topics()), topic_row(["Law"])),
        (red_team.questions(Library(), Config(), GATE), question_row(3)),
    ],
)
def test_of_a_reply_cut_short_the_last_line_is_dropped(step: red_team.Step, row: Row, ask: Callable) -> None:
    """SELF-ALIGN (2): length-stopped replies."""
    reply = Completion("3. Which court is the highest?\n4. May I bu", "length", 1, 9, 0.0)
    outcome = ask(step, [row], ScriptedEngine([reply]))
    assert [record["reason"] for record in outcome.records] == [None, CUT]


def test_questions_pass_the_gate_and_what_had_a_reason_keeps_it() -> None:
    """SELF-ALIGN (2) with the near-duplicate gate."""
    texts = ["Who inherits a boat that nobody owns?", "Who inherits a ship that nobody owns?", "Why?"]
    records: list[Row] = [{"text": text, "reason": None} for text in texts]
    records.insert(1, {"text": "Half a quest", "reason": CUT})
    judged = red_team.gate_questions(records, RougePool(), GATE, Contamination([]))
    assert [row["reason"] for row in judged] == [None, CUT, self_instruct.DUPLICATE, "too short"]
    assert [row["state"] for row in judged] == ["accepted", *["rejected"] * 3]
    assert "similarity" not in judged[1]


def _flat(text: str) -> str:
    """Without marks, and without the colon that a bold title gets before its task."""
    return " ".join(text.replace("**", "").replace("__", "").replace(":", "").replace("```", " ``` ").split())


def test_no_reply_makes_the_parser_fall_or_invent() -> None:
    pieces = ("3. Who owns it?\n", "4) Why so?\n", "5. How?\n\nEnough.", "\n", "1. Anew\n", "99. Far\n")
    read = outcomes(lambda reply: red_team.answered(reply, 3, 3, False), replies(pieces, 3000), ParseError)
    assert len(read) > 200
    for reply, found in read.items():
        flat = [_flat(reply), _flat(structured(reply))]  # a number inside an item keeps its form, as "4)"
        assert all(0 <= place < 3 and any(_flat(text) in one for one in flat) for place, text in found)  # type: ignore[attr-defined]


def test_settings_keep_the_figures_that_are_not_given() -> None:
    config = Config.model_validate({"topics": {"sampling": {"max_tokens": 64}}, "sampling": {"temperature": 0.5}})
    assert config.topics.sampling == Sampling(temperature=1.0, top_p=0.98, max_tokens=64)
    assert config.sampling == Sampling(temperature=0.5, top_p=0.95, max_tokens=1024)
    with pytest.raises(ValueError, match="round"):
        Config.model_validate({"topics": {"round": 3}})
