"""The loader says what is wrong; every file that ships loads, and both variants ask for the same variables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import prompts
from alignery.errors import UsageError
from alignery.hashing import digest
from prompts import HERE, Library, PromptError
from tasks.engines import Sampling
from tasks.methods.self_align.method import cited

DATA = ("constitution", "rules", "self_instruct/topics", "types", "score/propositions", "evolve/operations")
DATA += ("personas/personas", "hindsight/phrases", "translate/languages")
PROMPTS = sorted(
    str(path.relative_to(HERE)).removesuffix(".yaml")
    for path in HERE.rglob("*.yaml")
    if "." not in path.stem and not str(path.with_suffix("")).endswith(DATA)
)
# What nano was not taught: thoughts before a choice, inspectors of one subject each; it knows one mark for all.
FULL_ONLY = {"constitutional/weigh", "constitutional/decide", "squad/ethical", "squad/factual", "squad/helpful"}
FULL_ONLY |= {"rate/accuracy", "rate/helpfulness", "evaluate/letter", "score/proposition"}
FULL_ONLY |= {f"score/{aspect}" for aspect in ("helpfulness", "honesty", "instruction_following", "truthfulness")}
# A document of a harness, a row's forms, the beginning of a user's turn: no request in the form of a task.
AS_THEY_STAND = {"evaluate/document", "magpie/write", "mixing/chain", "mixing/few", "mixing/inverted"}
BOTH = [id for id in PROMPTS if id not in FULL_ONLY]
GOOD = "id: a/b\nabout: x\nvariables: [name]\ntext: 'Hello {{ name }}'\n"


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Library]:
    def write(text: str, name: str = "a/b.yaml") -> Library:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return Library(overlay=tmp_path)

    return write


def test_a_prompt_renders_with_every_variable(written: Callable[..., Library]) -> None:
    prompt = written(GOOD).prompt("a/b")
    assert prompt.render(name="you") == "Hello you"
    with pytest.raises(PromptError, match=r"missing \['name'\]"):
        prompt.render()
    with pytest.raises(PromptError, match=r"got \['nmae'\]"):
        prompt.render(name="you", nmae="x")


def test_values_are_never_read_as_templates(written: Callable[..., Library]) -> None:
    assert written(GOOD).prompt("a/b").render(name="{{ 1 + 1 }} <b>") == "Hello {{ 1 + 1 }} <b>"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("[name]", "[name, other]"), r"variables says \['name', 'other'\], the template uses \['name'\]"),
        (GOOD.replace("[name]", "[]"), r"variables says \[\]"),
        (GOOD.replace("variables", "varables"), "varables"),
        (GOOD.replace("{{ name }}", "{{ name "), "line 1 of a template"),
        (GOOD.replace("id: a/b", "id: a/c"), "expected 'a/b'"),
        (GOOD + "messages: [{role: user, content: 'Hello {{ name }}'}]", "either 'text' or 'messages'"),
        (GOOD.replace("text", "messages"), "messages"),
        ("id: [", "not YAML"),
    ],
)
def test_a_bad_prompt_file_is_named_with_its_fault(written: Callable[..., Library], text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        written(text).prompt("a/b")
    assert "b.yaml" in str(error.value)


def test_what_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"constitutional/critique\.yaml"):
        Library().prompt("constitutional/critic")
    with pytest.raises(PromptError, match=r"expected one of \['full', 'nano'\]"):
        Library("small").prompt("respond/answer")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'topic': 1}", r"seeds\.jsonl: line 3: not JSON"),
        ('{"topic": "tea"}', r"seeds\.jsonl: line 3: instruction: got nothing, expected a value; add it"),
        ('{"topic": "tea", "instruction": "x", "kind": "y"}', r"seeds\.jsonl: line 3: kind: no such key"),
    ],
)
def test_a_malformed_seed_line_is_named_by_its_number(written: Callable[..., Library], line: str, message: str) -> None:
    library = written(f'{{"topic": "tea", "instruction": "Brew it"}}\n\n{line}\n', "self_instruct/seeds.jsonl")
    with pytest.raises(UsageError, match=message):
        library.seeds()


def test_names_that_stand_twice_are_refused(written: Callable[..., Library]) -> None:
    with pytest.raises(PromptError, match=r"topic \['tea'\] occurs twice"):
        written("topics: [tea, ink, tea]", "self_instruct/topics.yaml").topics()
    twice = "principles: [{id: a, critique: c, revision: r}, {id: a, critique: d, revision: s}]"
    with pytest.raises(PromptError, match=r"principle id \['a'\]"):
        written(twice, "constitutional/constitution.yaml").principles()


def test_the_hash_is_of_what_is_sent(written: Callable[..., Library]) -> None:
    prompt = written(GOOD).prompt("a/b")
    assert written(GOOD.replace("about: x", "about: y")).prompt("a/b").hash == prompt.hash
    assert written(GOOD.replace("Hello", "Hullo")).prompt("a/b").hash != prompt.hash
    assert written(GOOD + "stop: ['x']").prompt("a/b").hash != prompt.hash


@pytest.mark.parametrize("id", BOTH)
def test_both_variants_of_a_prompt_load_and_ask_for_the_same(id: str) -> None:
    full, nano = Library("full").prompt(id), Library("nano").prompt(id)
    # nano learned its revisions with the critique's request before them.
    assert nano.variables - full.variables == ({"critique_request"} if id == "constitutional/revision" else set())
    assert full.variables <= nano.variables


# A document has a form of its own; the bare beginning of a template is a text itself.
@pytest.mark.parametrize("id", sorted({*PROMPTS} - AS_THEY_STAND))
def test_each_prompt_has_a_form_for_a_base_model(id: str) -> None:
    chat = Library().prompt(id)
    base = chat.in_form("text")
    assert base.is_text
    assert not chat.is_text
    assert base.variables == chat.variables
    last = base.turns[0][1].rstrip().rpartition("\n### ")[2]
    assert last.endswith(chat.prefill or (":", "?")), "the reply follows a heading, or the words that begin it"
    assert any("\n### User:".startswith(stop) for stop in base.stop), "stopped before another example"


@pytest.mark.parametrize("id", sorted(FULL_ONLY))
def test_what_nano_was_not_taught_is_refused_under_its_variant(id: str) -> None:
    assert Library().prompt(id)
    with pytest.raises(PromptError, match=f"no prompt file {id}.nano.yaml"):
        Library("nano").prompt(id)


def test_no_file_is_left_out() -> None:
    ids = {str(path.relative_to(HERE)).split(".")[0] for path in HERE.rglob("*.yaml")}
    data = {id for id in ids if id.endswith(DATA)}
    assert set(PROMPTS) | data == ids
    assert (len(PROMPTS), len(data)) == (53, 9)


@pytest.mark.parametrize("variant", prompts.VARIANTS)
def test_the_data_of_a_variant_hold_together(variant: str) -> None:
    library = Library(variant)
    rules, exemplars = library.rules()
    assert all(cited(exemplar.thought, rules) for exemplar in exemplars)
    assert {seed.topic for seed in library.seeds()} <= set(library.topics())
    texts = [text for p in library.principles() for text in (p.critique, p.revision)]
    assert all(text == text.strip() and text for text in texts)


def test_the_full_data_have_the_papers_counts() -> None:
    library = Library()
    rules, exemplars = library.rules()
    assert (len(library.principles()), len(rules), len(exemplars)) == (16, 16, 7)
    assert len(library.topics()) >= 20
    assert len(library.seeds()) >= 175
    requests = [text for p in library.principles() for text in (p.critique, p.revision, p.comparison)]
    assert len(set(requests)) == 48


def test_the_full_seeds_fill_every_topic() -> None:
    library = Library()
    for topic in library.topics():
        assert sum(seed.topic == topic for seed in library.seeds()) >= 8  # a request of eight exemplars needs no other


def test_the_choice_prompts_can_be_greedy() -> None:
    # Their callers read probabilities, so nothing is sampled; the words must ask for one sign and stop.
    squads = [id for id in PROMPTS if id.startswith("squad/")]
    for id in ("constitutional/compare", "constitutional/decide", *squads):
        assert Library().prompt(id).turns[-1][1].rstrip().endswith("and nothing else.")
    assert Sampling().temperature == 0


def test_a_digest_is_of_the_canonical_json_whatever_writes_it():
    """It is in every key of every lake: a change of it would repeat all work."""
    parts = ['é "\\ \n\x00\x1f\x7f\u2028 😀', True, None, ["b", ("x", [], {})], -5, 2**63, 0.7, 1.0, 1e-3, 12345.678]
    parts.append({"ß": 1, "a": {"z": 1, "b": 2}, "Z": 3, "😀": 4, "\uffff": 5})
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert digest(*parts) == hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
