"""Self-Instruct: requests that can be made again, lists read item by item, and a gate with a reason for everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from prompts import Library
from tasks.engines import Completion, Sampling, ScriptedEngine
from tasks.filters.contamination import REASON, Contamination
from tasks.filters.rouge import RougePool
from tasks.methods.self_instruct.method import DUPLICATE, Config, gate, generate, requests
from tasks.methods.self_instruct.reading import numbered_items
from tasks.step import ParseError, Row

SEEDS = [("tea", f"Tell me fact number {n} about tea") for n in range(9)] + [("ink", "Say how ink is made")]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    folder = tmp_path / "self_instruct"
    folder.mkdir()
    (folder / "topics.yaml").write_text("topics: [tea, ink]")
    (folder / "seeds.jsonl").write_text("\n".join(f'{{"topic": "{t}", "instruction": "{i}"}}' for t, i in SEEDS))
    return Library(overlay=tmp_path)


def machine(topic: str, count: int) -> list[Row]:
    return [{"id": f"{topic}{n}", "topic": topic, "text": f"Machine task {n} on {topic}"} for n in range(count)]


def test_a_first_round_has_eight_human_exemplars_of_its_topic(library: Library) -> None:
    """Self-Instruct (2): eight human exemplars while there are no others."""
    rows = requests(library, Config(requests_per_round=4), 0, [])
    assert [row["topic"] for row in rows] == ["tea", "ink", "tea", "ink"]
    assert all(len(set(row["exemplars"])) == 8 for row in rows)
    assert all("tea" in exemplar for exemplar in rows[0]["exemplars"])
    assert "Say how ink is made" in rows[1]["exemplars"]  # its one seed, and seven of another topic
    assert all(row["exemplar_ids"] == [] for row in rows)
    assert len({row["request_id"] for row in rows}) == 4


def test_later_rounds_have_six_human_and_two_machine_exemplars(library: Library) -> None:
    """Self-Instruct (2): six human and two machine ones."""
    row = requests(library, Config(requests_per_round=1), 2, machine("tea", 5) + machine("ink", 5))[0]
    texts = [text for text in row["exemplars"] if text.startswith("Machine")]
    assert len(row["exemplars"]) == 8
    assert {f"Machine task {id[-1]} on tea" for id in row["exemplar_ids"]} == set(texts)
    assert len(texts) == 2


def test_while_there_is_one_machine_exemplar_seven_are_human(library: Library) -> None:
    """Self-Instruct (2): it degrades by as many as are missing."""
    row = requests(library, Config(requests_per_round=1), 2, machine("tea", 1) + machine("ink", 5))[0]
    assert row["topic"] == "tea"
    assert sorted(text.startswith("Machine") for text in row["exemplars"]) == [False] * 7 + [True]


def test_the_limits_are_the_papers() -> None:
    """Self-Instruct (3), (4)"""
    config = Config()
    assert (config.min_words, config.max_words, config.rouge_l) == (4, 150, 0.7)
    plurals = ("image", "graph", "picture", "file", "map")
    words = {*plurals, *(f"{word}s" for word in plurals), "draw", "plot", "go to"}
    assert (set(config.blacklist), config.openings) == (words, ("Write a program",))
    assert (config.sampling.temperature, config.sampling.top_p, config.sampling.presence_penalty) == (0.7, 0.5, 2.0)


def test_requests_are_the_same_again_and_others_in_the_next_round(library: Library) -> None:
    config = Config(requests_per_round=3)
    first = requests(library, config, 0, machine("tea", 3))
    assert first == requests(library, config, 0, machine("tea", 3))
    asked = [row["topic"] for row in first]
    assert asked == ["ink", "tea", "ink"]  # tea has three already
    second = requests(library, config, 1, [], ["tea", "ink", "tea"])
    assert second[0]["topic"] == "ink"  # the topics go on where the first round stopped
    assert not {row["request_id"] for row in first} & {row["request_id"] for row in second}


def test_the_prompt_numbers_its_examples_and_the_reply_is_read_from_there(library: Library, ask: Callable) -> None:
    engine = ScriptedEngine(["Gladly!\n\n3. Tell me how tea\n   came to Europe.\n4) Compare two teas.\n\nEnjoy!"])
    row = {"request_id": "q", "topic": "tea", "exemplars": ["First task.", "Second task."], "exemplar_ids": ["m1"]}
    outcome = ask(generate(library, Config(count=2)), [row], engine)
    sent = engine.calls[0].prompt[0]["content"]
    assert "Examples:\n1. First task.\n2. Second task.\n\nWrite 2 new tasks about" in sent
    assert '"tea". Number them from 3 to 4, one task per line' in sent
    assert [record["text"] for record in outcome.records] == ["Tell me how tea came to Europe.", "Compare two teas."]
    record = outcome.records[0]
    assert record["parents"] == ["q", "m1"]
    assert (record["request_id"], record["topic"], record["origin"]) == ("q", "tea", "self_instruct")
    carried = generate(library, Config()).next_row(row, record)
    assert carried == {"instruction_id": record["id"], "instruction": record["text"], "topic": "tea"}


@pytest.mark.parametrize(
    ("reply", "items"),
    [
        ("**9.** Write a poem.\n**10.** Name a tree.", ["Write a poem.", "Name a tree."]),
        ("9. **Write a poem** about tea.\n10. **Name a tree.**", ["Write a poem about tea.", "Name a tree."]),
        ("9、写一首关于茶的诗。\n10、说出一种树。", ["写一首关于茶的诗。", "说出一种树。"]),
        ('### 9. "Write a poem."\n(10) Name a tree.', ["Write a poem.", "Name a tree."]),
        ("9. Fix this code:\n```\nx = [1\n```\n10. Name a tree.", ["Fix this code:\n```\nx = [1\n```", "Name a tree."]),
        (
            "9. Sort these words:\n\nowl, ant, bee\n\n10. Name a tree.",
            ["Sort these words:\nowl, ant, bee", "Name a tree."],
        ),
        ("9. Explain what **kwargs does, and 2**3.", ["Explain what **kwargs does, and 2**3."]),
    ],
)
def test_items_are_read_whatever_dresses_them_and_keep_their_material(reply: str, items: list[str]) -> None:
    assert numbered_items(reply, continues=False) == items


def test_of_a_list_that_is_too_long_what_was_asked_for_is_read(library: Library, ask: Callable) -> None:
    row = {"request_id": "q", "topic": "tea", "exemplars": ["a"], "exemplar_ids": []}
    engine = ScriptedEngine(["\n".join(f"{n}. Task {n} about tea" for n in range(2, 9))])
    records = ask(generate(library, Config(count=3)), [row], engine).records
    assert [record["text"] for record in records] == [f"Task {n} about tea" for n in (2, 3, 4)]


def test_a_raw_prompt_is_continued_and_a_chat_is_not() -> None:
    assert numbered_items(" text\n5. more text\n6. last", continues=True) == ["text", "more text", "last"]
    assert numbered_items("4. text\n5. more", continues=True) == ["text", "more"]
    assert numbered_items("Here they are:\n9. text", continues=False) == ["text"]
    assert numbered_items("9. Keep Python and I as they are", continues=False) == ["Keep Python and I as they are"]
    with pytest.raises(ParseError, match="no numbered list"):
        numbered_items("I have no ideas.", continues=False)


def test_a_reply_without_a_list_is_asked_for_again_and_one_cut_short_is_not(library: Library, ask: Callable) -> None:
    """Self-Instruct (5): a truncated reply is dropped as a whole."""
    row = {"request_id": "q", "topic": "tea", "exemplars": ["a"], "exemplar_ids": []}
    engine = ScriptedEngine(["nothing", "2. A task about tea"])
    outcome = ask(generate(library, Config()), [row], engine)
    assert [(a["state"], a["reason"], a["final"]) for a in outcome.attempts] == [
        ("unparsed", "no numbered list", False),
        ("accepted", None, True),
    ]
    assert len({call.sampling.seed for call in engine.calls}) == 2
    cut = ScriptedEngine([Completion("2. A task about", "length", 1, 1, 0.0)])
    outcome = ask(generate(library, Config()), [row], cut)
    assert [(a["state"], a["final"]) for a in outcome.attempts] == [("rejected", True)]
    assert outcome.records == []


def test_the_gate_gives_a_reason_and_its_figures() -> None:
    """Self-Instruct (3), (9), (10): nearest of all, a reason each, mean and largest similarity, evaluation prompts."""
    texts = [
        "Explain how black tea is made at home",
        "Explain how green tea is made at home",  # 7 of 8 words: 0.875
        "Too short",
        "Write a program that makes tea",
        "What is the oldest tea house in Japan?",
        "Why does ink turn brown with age?",
    ]
    pool = RougePool(["Tell me about ink and paper"])
    held_out = Contamination(["what is the oldest tea house in japan"])
    judged = gate([{"id": str(n), "text": text} for n, text in enumerate(texts)], pool, Config(), held_out)
    assert [record["reason"] for record in judged] == [
        None, DUPLICATE, "too short", "asks for a program", REASON, None,
    ]  # fmt: skip
    assert [record["state"] == "accepted" for record in judged] == [record["reason"] is None for record in judged]
    assert judged[1]["similarity"] == pytest.approx(7 / 8)
    assert judged[1]["nearest"] == texts[0]  # accepted a moment before, in the same batch
    assert judged[1]["mean_similarity"] == pytest.approx((7 / 8 + 0) / 2)
    assert len(pool) == 3


def test_batches_decide_as_one_by_one() -> None:
    """Self-Instruct (3): what is accepted joins the pool at once."""
    texts = [f"Name {n % 40} things to do with {word} and {n % 7} cups" for n in range(150) for word in ("tea", "ink")]
    whole = gate([{"text": text} for text in texts], RougePool(), Config(), Contamination([]))
    pool, single = RougePool(), []
    for text in texts:
        single += gate([{"text": text}], pool, Config(), Contamination([]))
    assert [row["reason"] for row in whole] == [row["reason"] for row in single]
    assert [row["nearest"] for row in whole] == [row["nearest"] for row in single]
    assert [row["mean_similarity"] for row in whole] == pytest.approx([row["mean_similarity"] for row in single])
    assert 1 < len(pool) < len(texts)


def test_exactly_the_threshold_is_accepted_and_more_is_not() -> None:
    """Self-Instruct (3): above 0.7 is rejected."""
    texts = [{"text": "a b c d e f g x y z"}, {"text": "a b c d e f g h u v"}]
    judged = gate(texts, RougePool(["a b c d e f g h i j"]), Config(), Contamination([]))
    assert [(row["state"], round(row["similarity"], 9)) for row in judged] == [("accepted", 0.7), ("rejected", 0.8)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Why is tea", "too short"),
        ("Why is tea green", None),
        ("w " * 150, None),
        ("w " * 151, "too long"),
        ("Describe the image of a cat", "blacklisted word"),
        ("Describe the imagery of a cat", None),
        ("Draw a cat on a mat", "blacklisted word"),
        ("Tell me when to go to bed", "blacklisted word"),
        ("Write a program that sorts numbers", "asks for a program"),
        ("Write a programme for the choir", "asks for a program"),
        ("- Say what tea is made of", "starts with punctuation"),
        ("Éclairs are made of what dough?", "starts outside ASCII"),
    ],
)
def test_every_heuristic_has_its_own_reason(text: str, reason: str | None) -> None:
    """Self-Instruct (4), (9): 4 to 150 words, whole words of the blacklist, openings, punctuation, ASCII."""
    assert gate([{"text": text.strip()}], RougePool(), Config(), Contamination([]))[0]["reason"] == reason


def walked(library: Library, config: Config, rounds: int, kept: dict[str, int]) -> tuple[Counter[str], Counter[str]]:
    """Requests and accepted instructions by topic, where so many of each request's candidates are accepted."""
    asked: list[str] = []
    accepted: list[list[Row]] = []  # of each round
    for round in range(rounds):
        pool = [row for done in accepted[: max(0, round + 1 - config.rounds_in_flight)] for row in done]
        rows = requests(library, config, round, pool, asked)
        asked += [row["topic"] for row in rows]
        accepted.append(
            [{"id": f"{row['request_id']}{n}", "topic": row["topic"], "text": f"Say {n} of {row['request_id']}"}
             for row in rows for n in range(kept[row["topic"]])]
        )  # fmt: skip
    return Counter(asked), Counter(row["topic"] for done in accepted for row in done)


@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_a_topic_that_is_rejected_more_often_is_asked_more_often(library: Library, in_flight: int) -> None:
    """Self-Instruct, balance: accepted instructions stay even over the topics."""
    config = Config(requests_per_round=12, rounds_in_flight=in_flight)
    asked, accepted = walked(library, config, 10, {"tea": 6, "ink": 3})
    assert asked["ink"] > 1.6 * asked["tea"]
    assert abs(accepted["ink"] - accepted["tea"]) <= 2 * 6 * in_flight  # what may be on its way
    even, _ = walked(library, config, 10, {"tea": 6, "ink": 6})
    assert even["tea"] == even["ink"]


def test_a_topic_that_brings_nothing_takes_no_more_than_twice_its_share(tmp_path: Path) -> None:
    (tmp_path / "self_instruct").mkdir()
    (tmp_path / "self_instruct/topics.yaml").write_text("topics: [a, b, c, d]")
    (tmp_path / "self_instruct/seeds.jsonl").write_text('{"topic": "a", "instruction": "x"}')
    asked, _ = walked(Library(overlay=tmp_path), Config(requests_per_round=8), 10, {"a": 0, "b": 5, "c": 5, "d": 5})
    assert 20 < asked["a"] <= 2 * 80 / 4
    assert all(asked[topic] > 10 for topic in "bcd")


def test_exemplars_hold_their_inputs_unless_instances_follow(library: Library) -> None:
    path = library.path("self_instruct/seeds", "jsonl")
    path.write_text('{"topic": "tea", "instruction": "Shorten the note.", "input": "Tea is\\nat four."}')
    config = Config(requests_per_round=1)
    assert requests(library, config, 0, [])[0]["exemplars"] == ["Shorten the note: Tea is at four."]
    assert requests(library, config, 0, [], bare=True)[0]["exemplars"] == ["Shorten the note."]
    assert "and never the text" in generate(Library(), config, bare=True).prompt.source


def test_settings_refuse_a_mistyped_key_and_keep_the_figures_that_are_not_given() -> None:
    config = Config.model_validate({"sampling": {"temperature": 0.9}})
    assert config.sampling == Sampling(temperature=0.9, top_p=0.5, presence_penalty=2.0, max_tokens=1024)
    with pytest.raises(ValueError, match="temprature"):
        Config.model_validate({"sampling": {"temprature": 0.9}})
    with pytest.raises(ValueError, match="rouge"):
        Config.model_validate({"rouge": 0.7})


def test_targets_are_no_part_of_the_work_and_the_gate_is(library: Library) -> None:
    engine = ScriptedEngine(["1. x"])
    same = [Config(), Config(accept=9, max_candidates=10, requests_per_round=2)]
    other = [Config(rouge_l=0.6), Config(count=3), Config(min_words=2), Config(blacklist=()), Config(ascii_start=False)]
    prints = [generate(library, config).fingerprint(engine) for config in (*same, *other)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 1 + len(other)


def test_requests_of_the_same_words_get_a_reply_each(library: Library) -> None:
    engine, step = ScriptedEngine(["1. x"]), generate(library, Config())
    one = {"request_id": "q", "topic": "tea", "exemplars": ["First task."], "exemplar_ids": []}
    keys = {step.request_key(row, "the same words", engine) for row in (one, one | {"request_id": "r"})}
    assert len(keys) == 2


def test_requests_of_one_topic_show_other_seeds_and_the_same_seeds_are_two_requests(tmp_path: Path) -> None:
    (tmp_path / "self_instruct").mkdir()
    (tmp_path / "self_instruct/topics.yaml").write_text("topics: [a]")
    seeds = "".join(f'{{"topic": "a", "instruction": "seed {n}"}}\n' for n in range(30))
    (tmp_path / "self_instruct/seeds.jsonl").write_text(seeds)
    rows = requests(Library(overlay=tmp_path), Config(requests_per_round=6), 0, [])
    assert len({frozenset(row["exemplars"]) for row in rows}) == 6
    (tmp_path / "self_instruct/seeds.jsonl").write_text('{"topic": "a", "instruction": "one"}')
    rows = requests(Library(overlay=tmp_path), Config(requests_per_round=6), 0, [])
    assert len({row["request_id"] for row in rows}) == 6


def test_fewer_requests_than_topics_are_a_round_too(tmp_path: Path) -> None:
    (tmp_path / "self_instruct").mkdir()
    (tmp_path / "self_instruct/topics.yaml").write_text("topics: [a, b, c, d, e]")
    (tmp_path / "self_instruct/seeds.jsonl").write_text('{"topic": "a", "instruction": "x"}')
    asked, _ = walked(Library(overlay=tmp_path), Config(requests_per_round=1), 5, dict.fromkeys("abcde", 1))
    assert asked == Counter("abcde")


def test_the_heuristics_reason_comes_before_an_evaluation_prompts() -> None:
    judged = gate([{"text": "Draw a cat"}], RougePool(), Config(), Contamination(["draw a cat"]))
    assert judged[0]["reason"] == "too short"


def test_what_a_topic_brings_is_read_from_the_rounds_that_have_ended(library: Library) -> None:
    """Of two rounds in flight the one before is not known: its two requests for tea brought nothing yet."""
    config = Config(requests_per_round=2, rounds_in_flight=2, count=6)
    settled = ["tea", "ink"]
    accepted = machine("tea", 6) + machine("ink", 2)
    rows = requests(library, config, 2, accepted, [*settled, "tea", "tea"])
    assert [row["topic"] for row in rows] == ["ink", "ink"]
    rows = requests(library, config, 2, accepted, [*settled, "ink", "ink"])
    assert [row["topic"] for row in rows] == ["tea", "ink"]
