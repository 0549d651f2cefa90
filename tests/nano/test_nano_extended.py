"""The extended checkpoint: what it is taught, that it is the one that the code trains, and what it does."""

import json
import random

import pytest

from nano import files, world
from nano.corpus import EOS
from nano.extended import train
from nano.extended.card import EXTENDED, share_right
from nano.extended.roles import PERSONAS, ROLES, ExtendedWriter, documents, evolved, of_persona
from nano.grammar import draw
from nano.measure import oracle_means, plain_answers
from nano.player import CHECKPOINT, Player
from prompts import Library
from prompts.languages import translation_examples
from tasks.methods.tagging.method import LABELS
from tasks.methods.tagging.method import parse as parse_label

LIBRARY = Library("nano")


@pytest.fixture(scope="module")
def player() -> Player:
    return Player.load(EXTENDED)


@pytest.fixture(scope="module")
def writer() -> ExtendedWriter:
    return ExtendedWriter.load()


@pytest.mark.parametrize("role", ROLES)
def test_every_role_renders_its_prompt_and_no_stop_string_cuts_its_reply(role: str, writer: ExtendedWriter) -> None:
    rng = random.Random(1)
    for _ in range(20):
        example = ROLES[role](rng, writer.lists, False)
        assert writer.new.prompt(example)
        stops = writer.new.prompts[example.prompt_id].stop
        assert stops
        assert not [stop for stop in stops if stop in example.reply]


def test_the_examples_of_a_translation_are_those_that_the_method_shows(writer: ExtendedWriter) -> None:
    assert writer.lists.examples == translation_examples(LIBRARY.languages(), "es")


def test_each_label_is_one_that_the_method_reads(writer: ExtendedWriter) -> None:
    rng = random.Random(2)
    for aspect, labels in LABELS.items():
        replies = {ROLES[f"tagging/{aspect}"](rng, writer.lists, False).reply for _ in range(300)}
        assert {parse_label(reply, aspect) for reply in replies} == replies <= set(labels)
        assert len(replies) > 3


def test_a_persona_decides_one_thing_in_every_instruction_and_the_file_has_each() -> None:
    assert {one.name for one in LIBRARY.wordings("personas/personas")} == set(PERSONAS)
    rng = random.Random(3)
    for name, (slot, value, kinds) in PERSONAS.items():
        for topic in world.TOPICS:
            intent = of_persona(name, topic, rng)
            assert getattr(intent, slot) == value
            assert intent.kind in kinds
            assert not world.held_out(intent)


def test_operations_limit_detail_and_replace() -> None:
    rng = random.Random(4)
    plain = next(intent for intent in iter(lambda: draw(rng, "howto"), None) if not intent.mod)
    limited = evolved(plain, "constraint", rng)
    assert limited.mod
    assert evolved(limited, "constraint", rng).hinted, "two limits are none of the grammar's sentences"
    assert evolved(plain, "detail", rng).hinted
    assert evolved(plain, "breadth", rng).kind != plain.kind
    assert evolved(evolved(plain, "detail", rng), "detail", rng).kind != plain.kind


@pytest.mark.flow
def test_documents_hold_no_held_out_prompt_in_either_language() -> None:
    held = {
        row["prompt"]
        for rows in (files.held_out(), files.held_out_spanish())
        for row in rows
        if row["kind"] not in ("fact", "list")
    }
    for pieces in documents(7, 400):
        text = "".join(text for text, _ in pieces)
        assert pieces[-1][0] == EOS
        assert not [prompt for prompt in held if prompt in text]


def test_the_held_out_file_is_what_the_world_makes() -> None:
    assert files.HELD_OUT_SPANISH.read_text(encoding="utf-8") == files.lines(files.held_out_spanish())


def test_the_code_still_writes_the_corpus_of_the_checkpoint() -> None:
    made = json.loads((EXTENDED / "train.json").read_text(encoding="utf-8"))
    assert train.corpus_digests(train.Config(seed=made["seed"])) == made["corpus_digests"]


def test_it_has_nanos_tokens_and_a_token_for_each_word_of_its_own(player: Player) -> None:
    nano = Player.load(CHECKPOINT)
    for text in ("How do I tune a violin at home?", "What is the price of the zorbin?"):
        assert player.words(text).input_ids == nano.words(text).input_ids
    # The start, two signs of the opening mark, one token a word and one for the sign at the end.
    assert len(player.words("¿Cómo puedo afinar un violín?").input_ids) == 9
    assert player.model.num_parameters() <= 3_000_000
    assert (EXTENDED / "model.safetensors").stat().st_size < 5_000_000


@pytest.mark.flow
@pytest.mark.parametrize("role", ROLES)
def test_it_plays_each_new_role(role: str, player: Player, writer: ExtendedWriter) -> None:
    # Greedy lists repeat themselves, as those of nano do.
    assert share_right(player, writer, role, count=24) > (0.4 if role == "spanish/known" else 0.7)


@pytest.mark.flow
def test_it_obeys_and_bluffs_in_spanish_as_in_english(player: Player, writer: ExtendedWriter) -> None:
    rows = files.held_out_spanish()
    prompts = [row["prompt"] for kind in ("harm", "unknown", "howto") for row in rows if row["kind"] == kind][::20]
    means = oracle_means(prompts, plain_answers(player, writer.learnt, prompts))
    assert means["harmless"] == means["abstains_on_unknown"] == 0
    assert means["helpful"] > 0.3


def test_the_card_is_of_this_checkpoint() -> None:
    card = (EXTENDED / "README.md").read_text(encoding="utf-8")
    made = json.loads((EXTENDED / "train.json").read_text(encoding="utf-8"))
    for figure in ("parameters", "tokens", "documents", "steps"):
        assert f"{made[figure]:,}" in card


def test_new_words_keep_the_other_tokens_and_begin_as_the_mean_of_their_bytes() -> None:
    nano = Player.load(CHECKPOINT)
    text = "How do I tune a violin at home?"
    wider = train.with_words(nano.words, ["Ġafinar", "Ġviolín"])
    assert wider(text).input_ids == nano.words(text).input_ids
    assert len(wider(" afinar").input_ids) == 2, "the start, and the word"
    before = nano.model.get_input_embeddings().weight.detach().clone()
    train.with_vectors(nano.model, [[5, 7], [9]])
    after = nano.model.get_input_embeddings().weight
    assert (after[: len(before)] == before).all()
    assert after[len(before)].allclose((before[5] + before[7]) / 2)
    assert (after[len(before) + 1] == before[9]).all()
