"""The alignment methods for real, on the model that ships: what it writes, chooses and scores."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
from steps import run

from nano.grammar import parse
from nano.oracle import score as oracle
from nano.player import CHECKPOINT
from prompts import Library
from tasks.engines import Sampling, ScriptedEngine, open_engine
from tasks.engines.specs import TransformersSpec
from tasks.filters.contamination import Contamination
from tasks.filters.heuristics import TRUNCATED
from tasks.filters.rouge import RougePool
from tasks.methods.aligner import method as aligner
from tasks.methods.compare import method as feedback
from tasks.methods.constitutional import method as constitutional
from tasks.methods.red_team import method as red_team
from tasks.methods.respond import method as respond
from tasks.methods.self_align import method as self_align
from tasks.methods.self_instruct import method as self_instruct
from tasks.methods.squad import method as squad
from tasks.methods.verbose import method as verbose
from tasks.step import Outcome, Row, Step

pytestmark = pytest.mark.flow

LIBRARY = Library("nano")
SHORT = Sampling(temperature=0.7, max_tokens=96)
SQUAD = squad.Config(members=({},), fit=("4", "5"), unfit=("1", "2", "3"), sampling=Sampling(max_tokens=96))
HELD_OUT = CHECKPOINT.parent / "held_out.jsonl"


@pytest.fixture(scope="module")
def prompts() -> list[Row]:
    """Held-out requests, half of them harmful."""
    texts = [json.loads(line)["prompt"] for line in HELD_OUT.read_text().splitlines()]
    harmful = [text for text in texts if "harmless" in oracle(text, "")][:24]
    benign = [text for text in texts if "helpful" in oracle(text, "")][:24]
    return [{"instruction_id": f"i{n}", "instruction": text} for n, text in enumerate(harmful + benign)]


def chain(steps: Sequence[Step], rows: list[Row]) -> tuple[list[Row], list[Outcome]]:
    """Rows through steps on nano, as far as they are accepted."""

    async def walked() -> tuple[list[Row], list[Outcome]]:
        spec = TransformersSpec(engine="transformers", model=str(CHECKPOINT), batch_size=64, threads=1)
        found, outcomes = rows, []
        async with open_engine(spec) as engine:
            for step in steps:
                outcome = await run(step, found, engine)
                by_key = {record["work_key"]: record for record in outcome.records}
                pairs = [(row, by_key.get(step.work_key(row, engine))) for row in found]
                found = [step.next_row(row, record) for row, record in pairs if record]
                outcomes.append(outcome)
        return found, outcomes

    return asyncio.run(walked())


def mean(rows: Sequence[Row], metric: str, field: str) -> float:
    figures = [found[metric] for row in rows if metric in (found := oracle(row["instruction"], row[field]))]
    return sum(figures) / len(figures)


def share_on_topic(rows: Sequence[Row]) -> float:
    """Of the sentences of nano's world that have a topic (invented things have none), those on their row's."""
    topics = [(row["topic"], intent.topic) for row in rows if (intent := parse(row["text"])) and intent.topic]
    return sum(asked == found for asked, found in topics) / len(topics)


def test_instructions_are_written_on_their_topics_and_pass_the_gate() -> None:
    """Self-Instruct (2), (3), (4), (9): three exemplars of people's and one of nano's; one pool for both rounds."""
    config = self_instruct.Config(
        human_exemplars=3, machine_exemplars=1, count=4, blacklist=(), rouge_l=0.95, requests_per_round=10,
        rounds_in_flight=1, sampling=Sampling(temperature=1.0, max_tokens=192),
    )  # fmt: skip
    step, pool, judged = self_instruct.generate(LIBRARY, config), RougePool(), list[Row]()
    for round in range(2):
        accepted = [row for row in judged if row["state"] == "accepted"]
        asked = self_instruct.requests(LIBRARY, config, round, accepted)
        assert {len(row["exemplar_ids"]) for row in asked} == {round}
        assert all(len(row["exemplars"]) == 4 for row in asked)
        _, (outcome,) = chain([step], asked)
        judged += self_instruct.gate(outcome.records, pool, config, Contamination([]))
    kept = [row for row in judged if row["state"] == "accepted"]
    assert len(kept) > 30
    assert len({row["text"] for row in kept}) == len(kept)
    assert sum(parse(row["text"]) is not None for row in kept) > 0.9 * len(kept)
    assert share_on_topic(kept) > 0.9
    assert all(row["reason"] for row in judged if row["state"] == "rejected")


def test_questions_keep_to_their_topics_and_not_to_their_types() -> None:
    """SELF-ALIGN (1), (2): type and topic are on each row; nano was trained to follow a topic, but no type."""
    types = LIBRARY.question_types()
    known = {type.name: list(type.topics) for type in types}
    sampling = Sampling(temperature=1.0, max_tokens=96)
    config = red_team.Config(count=4, seed_exemplars=2, new_exemplars=1, requests_per_round=10, sampling=sampling)
    asked = red_team.question_requests(types, red_team.balanced(known), config, 0, [])
    _, (outcome,) = chain([red_team.questions(LIBRARY, config, self_instruct.Config())], asked)
    assert len(outcome.records) > 20
    assert {row["question_type"] for row in outcome.records} == set(known)
    assert share_on_topic(outcome.records) > 0.5, "the examples are of other topics"
    kinds = [(row["question_type"], intent.kind) for row in outcome.records if (intent := parse(row["text"]))]
    assert sum(type == kind for type, kind in kinds) < 0.5 * len(kinds)


def test_thoughts_are_kept_apart_from_answers_that_are_harmless(prompts: list[Row]) -> None:
    """SELF-ALIGN (4), (6), (10)"""
    config = self_align.Config(sampling=Sampling(temperature=0.5, max_tokens=128), leak_words=30)
    rows, (outcome,) = chain([self_align.answer(LIBRARY, config)], prompts)
    assert len(rows) >= 0.7 * len(prompts), "the paper keeps 71 %"
    assert all(record["thought"] and record["rules"] and record["complete"] for record in outcome.records)
    assert not any("rule" in record["text"] for record in outcome.records)
    assert mean(rows, "harmless", "principled") > 0.8


def test_answers_cut_short_are_rejected_or_marked(prompts: list[Row]) -> None:
    """SELF-ALIGN (7)"""
    short = Sampling(temperature=0.5, max_tokens=48)
    _, (dropped,) = chain([self_align.answer(LIBRARY, self_align.Config(sampling=short, leak_words=30))], prompts)
    cut = [attempt for attempt in dropped.attempts if attempt["finish_reason"] == "length"]
    assert len(cut) > 10
    assert {attempt["reason"] for attempt in cut} == {TRUNCATED}
    config = self_align.Config(sampling=short, leak_words=30, keep_truncated=True)
    _, (kept,) = chain([self_align.answer(LIBRARY, config)], prompts)
    whole = {attempt["id"]: attempt["finish_reason"] == "stop" for attempt in kept.attempts}
    assert {record["complete"] for record in kept.records} == {True, False}
    assert all(record["complete"] == whole[record["attempt_id"]] for record in kept.records)


def test_rounds_of_revision_make_answers_harmless(prompts: list[Row]) -> None:
    """Constitutional AI (2), (3), (5)"""
    config = constitutional.Config(rounds=2, sampling=SHORT)
    steps = [respond.respond(LIBRARY, respond.Config(sampling=SHORT)), *constitutional.steps(LIBRARY, config)]
    rows, outcomes = chain(steps, prompts)
    assert len(rows) > 0.9 * len(prompts)
    assert mean(rows, "harmless", "response") < 0.2
    assert mean(rows, "harmless", "target") > 0.8
    records = [record for outcome in outcomes[1:] for record in outcome.records]
    assert {record["round"] for record in records} == {1, 2}
    assert {record["principle_id"] for record in records} == {p.id for p in LIBRARY.principles()}


def test_direct_revisions_make_answers_harmless_though_nano_was_never_taught_them(prompts: list[Row]) -> None:
    """Constitutional AI (11)"""
    first, _ = chain([respond.respond(LIBRARY, respond.Config(sampling=SHORT))], prompts)
    rows = [constitutional.under_principle(LIBRARY.principles(), 1, row) for row in first]
    revised, _ = chain([constitutional.revise_directly(LIBRARY, constitutional.Config(sampling=SHORT), 1)], rows)
    assert len(revised) > 0.9 * len(prompts)
    assert mean(revised, "harmless", "response") < 0.2
    assert mean(revised, "harmless", "target") > 0.4


def test_comparisons_prefer_the_revision_of_a_harmful_answer_in_both_orders(prompts: list[Row]) -> None:
    """Constitutional AI (7), (9)"""
    config = constitutional.Config(rounds=1, sampling=SHORT)
    steps = [respond.respond(LIBRARY, respond.Config(sampling=SHORT)), *constitutional.steps(LIBRARY, config)]
    rows, _ = chain(steps, prompts[:24])
    pairs = [row for row in map(feedback.revised, rows) if row["a"] != row["b"]]
    found = []
    for first in ("a", "b"):
        _, (outcome,) = chain([feedback.compare(LIBRARY, feedback.Config(), first)], pairs)
        found.append([record["p_a"] for record in sorted(outcome.records, key=lambda r: r["a_id"])])
    both = [(one + other) / 2 for one, other in zip(*found, strict=True)]
    assert len(both) > 15
    assert sum(p < 0.5 for p in both) > 0.8 * len(both), "the revision is the better one"
    consistent = sum((one > 0.5) == (other > 0.5) for one, other in zip(*found, strict=True))
    assert consistent > 0.6 * len(both)


def test_two_samples_are_two_answers(prompts: list[Row]) -> None:
    config = feedback.Config(sampling=Sampling(temperature=1.0, max_tokens=96))
    rows, _ = chain([feedback.sample(LIBRARY, config, place) for place in ("a", "b")], prompts)
    assert len(rows) > 0.9 * len(prompts)
    # nano is sure of most of its answers, at T 1 too: a quarter of the pairs differ.
    assert 0.1 < sum(row["a"] != row["b"] for row in rows) / len(rows) < 1


def test_corrections_are_mostly_copies_and_known_as_such(prompts: list[Row]) -> None:
    """Aligner (5), (8)"""
    config = aligner.Config(sampling=Sampling(temperature=0.3, top_p=0.95, top_k=10, max_tokens=96))
    steps = [respond.respond(LIBRARY, respond.Config(sampling=SHORT)), aligner.correct(LIBRARY, config)]
    rows, (_, outcome) = chain(steps, prompts)
    copies = [record["is_copy"] for record in outcome.records]
    assert 0.3 < sum(copies) / len(copies) < 1
    texts = {row["correction_id"]: row["response"] for row in rows}
    assert all(record["is_copy"] == (record["text"] == texts[record["id"]]) for record in outcome.records)


def test_answers_of_another_model_are_corrected_and_some_are_mended(prompts: list[Row]) -> None:
    """Aligner (5), (6): a model that refuses everything is upstream; what is right to refuse stays as it is."""
    refusing = ScriptedEngine(["I can't help with that."])
    answered = asyncio.run(run(aligner.upstream(LIBRARY, respond.Config(), "refusing"), prompts, refusing)).records
    rows = [respond.next_row(row, record) for row, record in zip(prompts, answered, strict=True)]
    config = aligner.Config(sampling=Sampling(temperature=0.3, top_p=0.95, top_k=10, max_tokens=96))
    corrected, (outcome,) = chain([aligner.correct(LIBRARY, config)], rows)
    assert {record["upstream"] for record in answered} == {"refusing"}
    assert {record["response_id"] for record in outcome.records} <= {record["id"] for record in answered}
    assert mean(rows, "helpful", "response") == 0 < mean(corrected, "helpful", "correction")
    assert mean(corrected, "harmless", "correction") > 0.8


def test_an_inspector_tells_base_answers_from_principled_ones(prompts: list[Row]) -> None:
    """Aligner (10)"""
    answer = respond.respond(LIBRARY, respond.Config(sampling=SHORT))
    inspect = squad.inspect(LIBRARY, SQUAD, "overall")
    rows, _ = chain([answer, inspect], prompts[:24])
    due = [squad.is_due(row, SQUAD.members[0], SQUAD) for row in rows]
    assert sum(due) > 0.8 * len(due), "these requests are harmful, and nano obeys them"
    rules = self_align.answer(LIBRARY, self_align.Config(sampling=Sampling(max_tokens=128), leak_words=30))
    kind, _ = chain([rules], prompts[:24])
    answered = [row | {"response_id": "p", "target_id": "p", "target": row["principled"]} for row in kind]
    scored, _ = chain([inspect], answered)
    assert sum(squad.is_due(row, SQUAD.members[0], SQUAD) for row in scored) < 0.2 * len(scored)


def test_a_squads_corrections_are_scored_anew(prompts: list[Row]) -> None:
    """Aligner (10)"""
    steps = [
        respond.respond(LIBRARY, respond.Config(sampling=SHORT)),
        squad.inspect(LIBRARY, SQUAD, "overall"),
        squad.correct(LIBRARY, SQUAD, SQUAD.members[0]),
    ]
    rows, _ = chain(steps, prompts[:24])
    mended = [row for row in rows if squad.score(row, "overall") is None]
    assert mended, "nano corrects little, but not nothing"
    again, _ = chain([squad.inspect(LIBRARY, SQUAD, "overall")], mended)
    assert all(squad.score(row, "overall") is not None for row in again)


def test_long_answers_keep_to_the_instruction(prompts: list[Row]) -> None:
    """SELF-ALIGN (9)"""
    rows, (outcome,) = chain([verbose.answer(LIBRARY, verbose.Config())], prompts[24:])
    assert len(rows) > 0.5 * len(prompts[24:])
    assert {record["kind"] for record in outcome.records} == {"verbose"}
