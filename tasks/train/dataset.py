"""An export's training split, checked row by row and cut to the trainer's own columns, before any model is loaded.

Where an export has the column `weight`, a whole number from 1, a row is read so many times an epoch. That weights it in
the mean of any recipe's loss, and adds as many steps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prompts import Message
from tasks.train.config import Row, TrainError

GIVEN = "given"  # the principle of pairs that a user brought
WEIGHT = "weight"


def read_sft(folder: Path) -> list[Row]:
    """Conversations as prompt (all turns but the last) and completion (the assistant's last turn).

    Split so, the loss falls on the completion and its end token alone.

    Args:
        folder: holds `train-*.parquet` with a column `messages`, a list of {role, content}.

    Raises:
        TrainError: no files, no rows, or a row that is not a conversation ending with the assistant.
    """
    rows = []
    for where, row in _rows(folder, ["messages"]):
        messages = _turns(f"{where}: messages", row["messages"], last="assistant")
        rows.append({"prompt": messages[:-1], "completion": messages[-1:]})
    return rows


def read_corrections(folder: Path) -> list[Row]:
    """Corrections: `question`, `answer`, `correction` (texts), and `template_id`, the words they were made under; None
    where they are no reply to an Aligner's words.

    Args:
        folder: holds `train-*.parquet` with these columns.

    Raises:
        TrainError: no files, no rows, or a field that is no text or is empty.
    """
    fields, rows = ["question", "answer", "correction"], []
    for where, row in _rows(folder, [*fields, "template_id"]):
        template = row["template_id"]
        texts: Row = {name: _text(f"{where}: {name}", row[name]) for name in fields}
        rows.append(texts | {"template_id": None if template is None else _text(f"{where}: template_id", template)})
    return rows


def read_rewrites(folder: Path) -> list[Row]:
    """Prompts and how they are to be rewritten: `prompt` and `optimized_prompt` (texts).

    Args:
        folder: holds `train-*.parquet` with these columns.

    Raises:
        TrainError: no files, no rows, or a field that is no text or is empty.
    """
    fields = ["prompt", "optimized_prompt"]
    return [{name: _text(f"{where}: {name}", row[name]) for name in fields} for where, row in _rows(folder, fields)]


def read_soft_preferences(folder: Path) -> list[Row]:
    """Preference pairs as `read_preferences` gives them, and `p`: how probable it is that `chosen` is the better one.

    Where the view has the principle of each choice, `origin` is human for pairs that a user brought, else ai.

    Raises:
        TrainError: as there, or a p that is not between 0 and 1.
    """
    if "principle_id" in _columns(training_files(folder)[0]):
        columns = ["prompt", "chosen", "rejected", "p", "principle_id"]
        origins = {GIVEN: "human"}
        found = _rows(folder, columns)
        return [_soft(where, row) | {"origin": origins.get(row["principle_id"], "ai")} for where, row in found]
    return [_soft(where, row) for where, row in _rows(folder, ["prompt", "chosen", "rejected", "p"])]


def read_principled(folder: Path) -> list[Row]:
    """Preference pairs as `read_soft_preferences` gives them, and the `principle` (a text) that each was made under.

    Raises:
        TrainError: as there, or a principle that is no text.
    """
    columns = ["prompt", "chosen", "rejected", "p", "principle"]
    return [
        _soft(where, row) | {"principle": _text(f"{where}: principle", row["principle"])}
        for where, row in _rows(folder, columns)
    ]


def _soft(where: str, row: Row) -> Row:
    if not isinstance(row["p"], float) or not 0 <= row["p"] <= 1:
        raise TrainError(f"{where}: p: got {row['p']!r}, expected a probability from 0 to 1; fix the view")
    return _pair(where, row) | {"p": row["p"]}


def read_preferences(folder: Path) -> list[Row]:
    """Preference pairs: a prompt ending with the user, and two different answers of one turn each.

    Args:
        folder: holds `train-*.parquet` with the columns `prompt`, `chosen`, `rejected`, each a list of {role,
            content}.

    Raises:
        TrainError: no files, no rows, a malformed conversation, or two equal answers.
    """
    return [_pair(where, row) for where, row in _rows(folder, ["prompt", "chosen", "rejected"])]


def read_ranked(folder: Path) -> list[Row]:
    """Prompts with several answers each: `responses`, as turns, and `scores`, in the order that they have there.

    Args:
        folder: holds `train-*.parquet` with the columns `prompt` (a list of {role, content}), `responses` (texts) and
            `scores` (numbers), as many as responses.

    Raises:
        TrainError: no files, no rows, a malformed conversation, fewer than two answers, or a score that is no number.
    """
    rows = []
    for where, row in _rows(folder, ["prompt", "responses", "scores"]):
        responses, scores = row["responses"] or [], row["scores"] or []
        if len(responses) < 2 or len(responses) != len(scores):
            raise TrainError(
                f"{where}: scores: got {len(scores)} for {len(responses)} responses, expected one each, and two "
                "responses or more; fix the view"
            )
        if wrong := [score for score in scores if not isinstance(score, float) or not math.isfinite(score)]:
            raise TrainError(f"{where}: scores: got {wrong[0]!r}, expected a finite number; fix the view")
        texts = [_text(f"{where}: responses[{place}]", text) for place, text in enumerate(responses)]
        turns = [[{"role": "assistant", "content": text}] for text in texts]
        rows.append(
            {"prompt": _turns(f"{where}: prompt", row["prompt"], last="user"), "responses": turns, "scores": scores}
        )
    return rows


def read_prompts(folder: Path) -> list[Row]:
    """The distinct prompts, `prompt` each, in their order: a view's `prompt`, or its `messages` but the last turn.

    Raises:
        TrainError: no files, no rows, neither column, or a row that is no conversation.
    """
    column = "prompt" if "prompt" in _columns(training_files(folder)[0]) else "messages"
    found = {}
    for where, row in _rows(folder, [column]):
        turns = row[column] if column == "prompt" else row[column][:-1]
        prompt = _turns(f"{where}: {column}", turns, last="user")
        found[json.dumps(prompt)] = prompt
    return [{"prompt": prompt} for prompt in found.values()]


def _pair(where: str, row: Row) -> Row:
    prompt = _turns(f"{where}: prompt", row["prompt"], last="user")
    chosen, rejected = (_answer(f"{where}: {field}", row[field]) for field in ("chosen", "rejected"))
    if chosen == rejected:
        raise TrainError(f"{where}: rejected: got the same answer as chosen; drop the pair, it teaches nothing")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def training_files(folder: Path) -> list[Path]:
    """The files of the training split. Raises TrainError where there are none."""
    # Not test-*.parquet: those are the prompts that are held out.
    if found := sorted(folder.glob("train-*.parquet")):
        return found
    raise TrainError(f"{folder}: got no train-*.parquet there; give the data folder of one shape of an export")


def _rows(folder: Path, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """Every row of every file of the training split, with the words that name its place (rows count from 0)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = training_files(folder)
    count = 0
    for file in files:
        found = _columns(file)
        if missing := [name for name in columns if name not in found]:
            raise TrainError(f"{file}: got the columns {found}, expected {missing} too; give the view made for it")
        try:
            weighed = [WEIGHT] if WEIGHT in found else []
            rows = pq.read_table(file, columns=[*columns, *weighed]).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise TrainError(f"{file}: not a Parquet file ({error}); publish the export again") from error
        for number, row in enumerate(rows):
            where, weight = f"{file}: row {number}", row.pop(WEIGHT, 1)
            if not isinstance(weight, int | float) or weight < 1 or weight % 1:
                raise TrainError(f"{where}: {WEIGHT}: got {weight!r}, expected a whole number from 1; publish it again")
            for _ in range(int(weight)):
                yield where, row
        count += len(rows)
    if not count:
        raise TrainError(f"{folder}: got no rows in {len(files)} file(s); publish a snapshot that has accepted rows")


def _columns(file: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(file).names)
    except (pa.ArrowException, OSError) as error:
        raise TrainError(f"{file}: not a Parquet file ({error}); publish the export again") from error


def _turns(where: str, messages: Any, last: str) -> list[Message]:
    """A conversation: an optional system turn, then user and assistant in turn, `last` at the end."""
    turns = [_message(where, place, message) for place, message in enumerate(_listed(where, messages))]
    roles = [turn["role"] for turn in turns]
    spoken = roles[1:] if roles[0] == "system" else roles
    if not spoken or spoken != [("user", "assistant")[place % 2] for place in range(len(spoken))]:
        raise TrainError(f"{where}: got the roles {roles}, expected user and assistant in turn, user first")
    if roles[-1] != last:
        raise TrainError(f"{where}: got the roles {roles}, expected the last to be {last}; fix the view")
    return turns


def _answer(where: str, messages: Any) -> list[Message]:
    turns = [_message(where, place, message) for place, message in enumerate(_listed(where, messages))]
    if [turn["role"] for turn in turns] != ["assistant"]:
        raise TrainError(f"{where}: got the roles {[turn['role'] for turn in turns]}, expected one assistant turn")
    return turns


def _listed(where: str, messages: Any) -> list[Any]:
    if not isinstance(messages, list) or not messages:
        raise TrainError(f"{where}: got {messages!r}, expected a list of at least one {{role, content}}")
    return messages


def _message(where: str, place: int, message: Any) -> Message:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise TrainError(f"{where}[{place}]: got {message!r}, expected {{role, content}}")
    return {"role": message["role"], "content": _text(f"{where}[{place}].content", message.get("content"))}


def _text(where: str, text: Any) -> str:
    if not isinstance(text, str) or not text.strip():
        raise TrainError(f"{where}: got {text!r}, expected a text that is not empty")
    return text
