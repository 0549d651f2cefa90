"""Views of an export, written by hand for the training tests."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
NOUNS = ["cats", "dogs", "pens", "hats"]
PAIRS = [(number, noun) for number in NUMBERS for noun in NOUNS]


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def question(number, noun):
    return f"Show {number} {noun}."


def good(number, noun):
    return f"I see {number} {noun} here."


def bad(number, noun):
    return f"No {noun} for you."


def conversation(pair):
    """The extra column `id` is in every export and must not reach the trainer."""
    return {"messages": [user(question(*pair)), assistant(good(*pair))], "id": " ".join(pair)}


def preference(pair):
    return {
        "prompt": [user(question(*pair))],
        "chosen": [assistant(good(*pair))],
        "rejected": [assistant(bad(*pair))],
        "id": " ".join(pair),
    }


def ranked(pair):
    """Three answers, not in the order of their scores."""
    texts = [bad(*pair), good(*pair), "I see no " + pair[1] + "."]
    return {"prompt": [user(question(*pair))], "responses": texts, "scores": [1.0, 4.5, 2.0], "id": " ".join(pair)}


def soft_preference(pair):
    """A judge that is less sure the later the noun is in the list."""
    return preference(pair) | {"p": 0.95 - 0.1 * NOUNS.index(pair[1])}


def correction(pair, template):
    return {
        "question": question(*pair),
        "answer": bad(*pair),
        "correction": good(*pair),
        "template_id": template,
        "id": " ".join(pair),
    }


def rewrite(pair):
    return {"prompt": question(*pair), "optimized_prompt": f"{question(*pair)} {good(*pair)}", "id": " ".join(pair)}


def write_view(folder: Path, rows, name="train-00000-of-00001.parquet"):
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / name)
    return folder
