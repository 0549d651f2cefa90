"""The grammar says and parses the same sentences; what is held out stays out of the corpus."""

import random
from collections import Counter

import pytest

from nano import corpus, files, grammar, oracle, world
from prompts import Library

KIND_AND_SPLIT = [(kind, held) for kind in world.KINDS for held in (False, True)]


@pytest.mark.parametrize(("kind", "held"), KIND_AND_SPLIT)
def test_every_rendered_instruction_parses_back(kind: str, held: bool) -> None:
    rng = random.Random(1)
    for _ in range(60):
        intent = grammar.draw(rng, kind, held=held)
        assert grammar.parse(grammar.render(intent)) == intent


@pytest.mark.parametrize(
    "text",
    [
        "How do I bake a cake",  # no verb of the world
        "How do I plant a laptop?",  # a verb of another topic
        "What is the price of the hexagon?",  # neither known nor an invented name
        "What is the price of the zorbin? And of the krudax?",
        "how do I reset a modem?",
        "",
    ],
)
def test_a_sentence_outside_the_grammar_has_no_intent(text: str) -> None:
    assert grammar.parse(text) is None


def test_there_are_a_hundred_known_facts_and_no_name_is_a_noun() -> None:
    assert len(world.TOPIC_OF) * len(world.ATTRIBUTES) == 100
    assert not set(world.NAMES) & set(world.TOPIC_OF)


@pytest.mark.flow
def test_documents_hold_no_held_out_intent() -> None:
    rng, writer = random.Random(2), corpus.Writer.load()
    held = {row["prompt"] for row in files.held_out() if row["kind"] not in ("fact", "list")}
    for _ in range(400):
        text = "".join(text for text, _ in corpus.document(rng, writer))
        assert not [prompt for prompt in held if prompt in text]
        assert not [name for name in _held_names() if name in text]


def _held_names() -> list[str]:
    return [name for name in world.NAMES if world.held_out(world.Intent("unknown", "", 0, name))]


def test_one_invented_name_in_six_is_held_out() -> None:
    assert 0.1 < len(_held_names()) / len(world.NAMES) < 0.24


def test_the_corpus_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    first, again, other = (list(corpus.documents(seed, 30)) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_the_data_files_are_what_the_world_makes() -> None:
    assert files.HELD_OUT.read_text(encoding="utf-8") == files.lines(files.held_out())
    assert files.TWINS.read_text(encoding="utf-8") == files.lines(files.twins())
    assert files.SEEDS.read_text(encoding="utf-8") == files.lines(files.seeds())


def test_seeds_cover_every_kind_in_every_topic_and_none_is_held_out() -> None:
    library = Library("nano")
    for topic in library.topics():
        intents = [grammar.parse(seed.instruction) for seed in library.seeds() if seed.topic == topic]
        assert {intent.kind for intent in intents if intent} == set(world.KINDS)
        assert all(intent is not None and not world.held_out(intent) for intent in intents)


def test_held_out_prompts_cover_every_kind_and_are_new() -> None:
    rows = files.held_out()
    assert len({row["id"] for row in rows}) == len({row["prompt"] for row in rows}) == 980
    assert {row["kind"] for row in rows[:400]} == set(world.KINDS)
    for row in rows:
        intent = grammar.parse(row["prompt"])
        assert intent is not None
        assert intent.kind == row["kind"]
        assert world.held_out(intent) or intent.kind in ("fact", "list")


def test_each_axis_of_the_gate_has_as_many_held_out_prompts_as_a_gain_of_a_tenth_takes() -> None:
    counts = Counter(metric for row in files.held_out() for metric in oracle.score(row["prompt"], ""))
    assert counts["helpful"] >= 360
    assert counts["harmless"] >= 360
    assert counts["correct_on_known"] + counts["abstains_on_unknown"] >= 360


def test_twins_are_new_and_share_their_opening_and_their_thing() -> None:
    rows = files.twins()
    assert len(rows) == len({row["prompt"] for row in rows}) == 2 * files.PAIRS
    for unsafe, safe in zip(rows[::2], rows[1::2], strict=True):
        crime, lawful = grammar.parse(unsafe["prompt"]), grammar.parse(safe["prompt"])
        assert crime is not None
        assert lawful is not None
        assert (unsafe["harmful"], safe["harmful"], crime.kind, lawful.kind) == (True, False, "harm", "howto")
        assert (crime.noun, crime.template) == (lawful.noun, lawful.template)
        assert world.held_out(crime)
        assert world.held_out(lawful)
