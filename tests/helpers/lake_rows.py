"""Hand-made rows: a small line's worth of attempts and records, with ids that can be read."""

import hashlib
from datetime import UTC, datetime, timedelta

import alignery.config.methods  # noqa: F401  # what lakes have by default

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def attempt(key, **fields):
    """One accepted, final attempt at a work key."""
    number = fields.get("try_number", 0)
    return {
        "id": f"{key}-try{number}",
        "work_key": key,
        "step": "respond.answer",
        "fingerprint": "f",
        "parents": [],
        "inputs": "{}",
        "prompt_id": "respond/answer",
        "prompt_hash": "p1",
        "model": "model-a",
        "sampling": "{}",
        "seed": 7,
        "try_number": 0,
        "state": "accepted",
        "reason": None,
        "final": True,
        "raw_text": f"reply to {key}",
        "finish_reason": "stop",
        "tokens_in": 10,
        "tokens_out": 5,
        "latency_s": 0.5,
        "created_at": START,
    } | fields


def record(id, parents=(), *, key=None, minute=0, **fields):
    """What every record has; it is written by the first try at `key` (its own id, if none is given)."""
    key = key or f"k-{id}"
    common = {"id": id, "parents": list(parents), "attempt_id": f"{key}-try0", "work_key": key}
    return common | {"created_at": START + timedelta(minutes=minute)} | fields


def instruction(id, text=None, **fields):
    fields = {"topic": "birds", "origin": "self_instruct", "state": "accepted"} | fields
    return record(id, text=text or f"question {id}", **fields)


def response(id, about, text=None, **fields):
    return record(id, [about], instruction_id=about, text=text or f"answer {id}", **{"kind": "base"} | fields)


def revision(id, about, first, text, **fields):
    fields = {"round": 1, "target_id": first, "changed": True, "principle_id": "kind", "principle_hash": "h"} | fields
    fields = {"critique_id": "c"} | fields
    return record(id, [first], instruction_id=about, response_id=first, text=text, **fields)


def critique(id, about, first, **fields):
    fields = {"target_id": first, "round": 1, "principle_id": "kind", "principle_hash": "h"} | fields
    return record(id, [about, first], instruction_id=about, response_id=first, text="could be kinder", **fields)


def correction(id, about, first, text, **fields):
    fields = {"template_id": "t", "is_copy": False} | fields
    return record(id, [first], instruction_id=about, response_id=first, text=text, **fields)


def comparison(id, about, a, b, p_a, **fields):
    fields = {"first": "a", "principle_id": "kind", "principle_hash": "h"} | fields
    return record(id, [about, a, b], instruction_id=about, a_id=a, b_id=b, p_a=p_a, **fields)


def instance(id, about, given="", **fields):
    fields = {"place": 1, "form": "input_first", "output": f"output {id}", "state": "accepted"} | fields
    return record(id, [about], instruction_id=about, input=given, **fields)


def half(text):
    """The split computed without DuckDB: the last eight bytes of the text's MD5 decide."""
    low = int.from_bytes(hashlib.md5(text.encode()).digest()[8:], "little")
    return "preferences" if low % 2 else "sft"


def on(side, start=0):
    """A prompt of that half."""
    return next(text for text in (f"question {n}" for n in range(start, start + 100)) if half(text) == side)


def commit(lake, run_id="run-1", attempts=(), **records):
    """Append records, each with the attempt that wrote it, and further attempts."""
    keys = {row["work_key"] for rows in records.values() for row in rows if row["attempt_id"]}
    wrote = [attempt(key) for key in sorted(keys)]
    return lake.ledger.append(records, [*wrote, *attempts], run_id=run_id, step="test.step", fingerprint="f")


NASTY = "better\n```\n# not a heading <script>\n````\n| x |\u2028```\u2028# nor this\n---\nconfigs: []\n---\n"
NASTY += "\x1b]0;x\x07\x9b\u202e"
CRITIQUE = {"target_id": "b", "round": 1, "principle_id": "kind", "principle_hash": "h", "text": "be kinder"}


def fill(lake, count=12, start=0, revised=NASTY):
    """A whole line of `count` instructions: an answer to each, its critique and revision, and a correction."""
    names = [f"i{n}" for n in range(start, start + count)]
    commit(
        lake,
        instructions=[instruction(name) for name in names],
        responses=[response(f"b-{name}", name) for name in names],
        revisions=[revision(f"v-{name}", name, f"b-{name}", revised) for name in names],
        critiques=[record(f"q-{name}", instruction_id=name, response_id=f"b-{name}", **CRITIQUE) for name in names],
        corrections=[correction(f"c-{name}", name, f"b-{name}", "x" * 3000) for name in names],
    )


def fill_further(lake, count=12, start=0):
    """What further methods make of the instructions of `fill`: a long answer, an instance, two comparisons, two samples
    with a mark each, three chains of thought that agree, a rewrite, a dialogue, and a translation by each route."""
    names = [f"i{n}" for n in range(start, start + count)]
    words = {"hash": "h", "id": "principle:kind", "source": "Is the answer kind?"}
    lake.ledger.write("prompts", [words], run_id="run-1", message="words")
    commit(
        lake,
        responses=[response(f"w-{name}", name, kind="verbose", complete=True) for name in names],
        comparisons=[
            comparison(f"x-{first}-{name}", name, f"b-{name}", f"v-{name}", 0.2, first=first)
            for name in names
            for first in ("a", "b")
        ],
        instances=[instance(f"n-{name}", name) for name in names],
        samples=[
            record(
                f"s{n}-{name}", [name], instruction_id=name, text=f"sample {n} of {name}", number=n, model="generator"
            )
            for name in names
            for n in range(2)
        ],
        sample_scores=[
            record(f"m{n}-{name}", [name, f"s{n}-{name}"], instruction_id=name, sample_id=f"s{n}-{name}", value=1.0 + n)
            | {"scorer": "rating", "aspect": "overall", "scale": "1 to 5"}
            for name in names
            for n in range(2)
        ],
        rationales=[
            record(f"t{n}-{name}", [name], instruction_id=name, number=n, text=f"way {n} of {name}", final="6")
            for name in names
            for n in range(3)
        ],
        optimized_prompts=[
            record(f"o-{name}", [name], instruction_id=name, good_id=f"v-{name}", bad_id=f"b-{name}", changed=True)
            | {"good": "yes", "bad": "no", "comparison": "it is right", "text": f"better {name}"}
            for name in names
        ],
        turns=[turn(name, place) for name in names for place in (2, 3, 4)],
        translations=[translation(name, route) for name in names for route in ("both", *ROUTES)],
    )


ROUTES = ("post_answering", "post_translating")


def translation(about, route):
    """The instruction in German, or an answer to that which came by a route."""
    question = None if route == "both" else f"g-both-{about}"
    made = {"translation_id": question, "answer_id": f"b-{about}" if route == "post_translating" else None}
    made |= {"route": route, "language": "de", "share": 0.5, "text": f"{route} auf Deutsch, {about}"}
    return record(f"g-{route}-{about}", [about, *filter(None, [question])], instruction_id=about, **made)


def turn(about, place):
    """A turn of the dialogue that the instruction begins."""
    before = [f"d{n}-{about}" for n in range(2, place)]
    fields = {"place": place, "role": "user" if place % 2 else "assistant", "before": before}
    fields |= {"before_id": (before or [about])[-1]}
    return record(f"d{place}-{about}", [about], instruction_id=about, text=f"turn {place} of {about}", **fields)
