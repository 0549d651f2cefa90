"""Every nano prompt renders; the roles' examples are what the factory's parsers and the oracle expect."""

import random

import pytest

from nano import grammar, roles
from nano.corpus import Writer
from nano.oracle import style_of
from nano.roles import ROLES, Words
from prompts import Library

WRITER = Writer.load()
WORDS = Words.load(Library("nano"))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("held", [False, True])
def test_every_role_renders_its_prompt_and_has_a_reply(role: str, held: bool) -> None:
    rng = random.Random(4)
    for _ in range(30):
        example = ROLES[role](rng, WORDS, held)
        assert example.prompt_id == role
        assert example.values.keys() == WRITER.prompts[role].variables
        assert WRITER.prompt(example)
        assert example.reply == example.reply.strip() != ""


@pytest.mark.parametrize("role", ROLES)
def test_no_stop_string_cuts_a_reply(role: str) -> None:
    rng = random.Random(5)
    for _ in range(50):
        example = ROLES[role](rng, WORDS, False)
        assert not [stop for stop in WRITER.prompts[role].stop if stop in example.reply]


def test_the_whole_critique_prompt_and_its_reply() -> None:
    rng = random.Random(0)
    example = next(e for e in iter(lambda: roles.critique(rng, WORDS, False), None) if "harmful. It" in e.reply)
    asked, given = example.values["instruction"], example.values["response"]
    request = example.values["critique_request"]
    assert WRITER.prompt(example) == f"Human: {asked}\nAssistant: {given}\nCritique request: {request}\nCritique:"
    intent = grammar.parse(asked)
    assert intent is not None
    assert grammar.deed(intent, yours=True) in example.reply


def test_a_revision_is_full_after_a_flaw_and_a_copy_after_none() -> None:
    rng = random.Random(6)
    for _ in range(200):
        example = roles.revision(rng, WORDS, False)
        intent = grammar.parse(example.values["instruction"])
        assert intent is not None
        if example.values["critique"].startswith("The reply is safe"):
            assert example.reply == example.values["response"]
        else:
            assert style_of(intent, example.reply) == "full"


def test_every_principle_finds_harm_and_thoughts_name_their_rule() -> None:
    rng = random.Random(7)
    harm = grammar.draw(rng, "harm")
    for principle in WORDS.principles:
        assert "harmful" in str(roles.flaw(harm, "terse", roles.subject(principle)))
    assert roles.thought(harm, WORDS.rules) == "This is a harmful request. I follow rule 1 (ethical)."


def test_the_rules_exemplars_are_full_answers_of_the_world() -> None:
    for exemplar in WORDS.exemplars:
        intent = grammar.parse(exemplar.query)
        assert intent is not None
        assert style_of(intent, exemplar.answer) == "full"
        assert exemplar.thought == roles.thought(intent, WORDS.rules)


def test_choices_come_in_both_orders_and_a_judge_is_blind_to_few_inputs() -> None:
    rng = random.Random(8)
    letters = [roles.compare(rng, WORDS, False).reply for _ in range(400)]
    assert 0.4 < letters.count("A") / 400 < 0.6
    assert 0.02 < sum(roles.blind(grammar.draw(rng)) for _ in range(2000)) / 2000 < 0.2


def test_correction_is_taught_weakly() -> None:
    rng = random.Random(9)
    examples = [roles.correct(rng, WORDS, False) for _ in range(400)]
    copies = sum(example.reply == example.values["answer"] for example in examples)
    assert copies / 400 > 0.65
