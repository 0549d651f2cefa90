"""A user's rows as instructions: what is read of each kind of file, and why a row is none."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.datafiles import DataFileError, DataRow, content_hash, read_rows
from tasks.methods.prompts import method as prompts
from tasks.methods.prompts.method import Config, Entry

ROWS = [
    {"prompt": "Name a bird.", "answer": "An owl."},
    {"prompt": 'Where do owls live,\n"really"?', "answer": "In trees."},
]


def write(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    """The rows in a file of the kind that its name says."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        import csv

        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("\ufeff" + "\n\n".join(json.dumps(row) for row in rows))
    return path


def values(path: Path, *columns: str) -> list[dict[str, Any]]:
    return [{name: row.values[name] for name in columns} for row in read_rows(path, columns)]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_each_kind_of_file_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    assert values(write(tmp_path / name), "prompt", "answer") == ROWS


def test_a_folder_of_shards_and_a_data_set_are_read_whole(tmp_path: Path) -> None:
    import datasets

    for number, row in enumerate(ROWS):
        (tmp_path / "shards" / "data").mkdir(parents=True, exist_ok=True)
        write(tmp_path / "shards" / "data" / f"train-{number}.parquet", [row])
    (tmp_path / "shards" / ".cache").mkdir()
    write(tmp_path / "shards" / ".cache" / "old.jsonl")
    assert values(tmp_path / "shards", "prompt", "answer") == ROWS
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "set")
    assert values(tmp_path / "set", "prompt", "answer") == ROWS
    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(tmp_path / "splits")
    assert [(row.file, row.number) for row in read_rows(tmp_path / "splits", ["prompt"])] == [
        ("splits/train", 1),
        ("splits/train", 2),
    ]


BAD = {
    b'{"prompt": "whole"}': None,
    b"not json": "not JSON",
    b"[1]": "got list, expected a JSON object",
    b'{"other": "x"}': "no field 'prompt'; the row has ['other']",
    b'{"prompt": 5}': "got int, expected a text",
    b'{"prompt": null}': "got nothing, expected a text",
    b'{"prompt": "   "}': "empty",
    b'{"prompt": "half \\ud800"}': "no UTF-8 text",
    b'{"prompt": "null \\u0000"}': "no UTF-8 text",
    b'{"prompt": "\xff\xfe"}': "not UTF-8: the byte 0xff",
    b'{"prompt": "' + b"x" * 100_001 + b'"}': "more than 100,000 characters",
    b"[" * 100_000: "not JSON",
    b'{"prompt": [{"role": "assistant", "content": "x"}]}': "without a turn of the role 'user'",
    b'{"prompt": [{"role": "user", "content": "asked"}]}': None,
}


@pytest.mark.parametrize(("line", "reason"), BAD.items(), ids=range(len(BAD)))
def test_a_bad_row_is_rejected_with_its_reason_and_the_others_are_read(
    line: bytes, reason: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "before"}\n' + line + b'\n{"prompt": "after"}\n')
    entry = Entry(path=path)
    found = [prompts.instruction(row, entry) for row in read_rows(path, ["prompt"])]
    assert [record["state"] for record in found] == ["accepted", "rejected" if reason else "accepted", "accepted"]
    assert (reason or "") in (found[1]["reason"] or "")
    assert (found[1]["source"], found[1]["source_row"]) == ("rows.jsonl", 2)
    assert len(found[1]["text"]) <= 200
    found[1]["text"].encode()


def test_of_a_table_a_row_of_another_length_is_rejected_and_a_missing_column_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"prompt,answer\nWhy?,Because.\nalone\na,b,c\n\xff,x\n")
    entry = Entry(path=path, answers="answer")
    found = [prompts.instruction(row, entry) for row in read_rows(path, entry.columns)]
    assert [(one["state"], one["source_row"]) for one in found] == [
        ("accepted", 2), ("rejected", 3), ("rejected", 4), ("rejected", 5)
    ]  # fmt: skip
    path.write_bytes(b'prompt,answer\nWhy?,Because.\n"never closed,x\nHow?,So.\n')
    unclosed = [prompts.instruction(row, entry) for row in read_rows(path, entry.columns)]
    assert [(one["text"], one["source_row"]) for one in unclosed] == [("Why?", 2), ('"never closed,x', 3), ("How?", 4)]
    assert "are its quotes right?" in unclosed[1]["reason"]
    with pytest.raises(DataFileError, match=r"got no column 'text', expected one of .*'prompt'"):
        list(read_rows(path, ["text"]))
    path.write_bytes(b"prompt,prompt\na,b\n")
    with pytest.raises(DataFileError, match="two columns 'prompt'"):
        list(read_rows(path, ["prompt"]))


def test_a_wrong_column_of_parquet_is_no_unsound_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user.text": ["Why?"]}), tmp_path / "rows.parquet")
    assert [row.values for row in read_rows(tmp_path / "rows.parquet", ["user.text"])] == [{"user.text": "Why?"}]
    with pytest.raises(DataFileError, match=r"rows.parquet: got no column 'text', expected one of \['user.text'\]"):
        list(read_rows(tmp_path / "rows.parquet", ["text"]))


def test_a_value_of_parquet_that_is_no_text_costs_its_own_row_only(tmp_path: Path) -> None:
    offsets, texts = pa.py_buffer(struct.pack("<3i", 0, 4, 6)), pa.py_buffer(b"Why?\xff\xfe")
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"prompt": pa.StringArray.from_buffers(2, offsets, texts)}), path)
    found = [prompts.instruction(row, Entry(path=path)) for row in read_rows(path, ["prompt"])]
    assert [(one["state"], one["source_row"]) for one in found] == [("accepted", 1), ("rejected", 2)]


def test_a_batch_ends_early_where_its_texts_are_long() -> None:
    rows = (DataRow("f", number, {"prompt": "x" * (1 << 20)}) for number in range(200))
    assert [len(batch) for batch in prompts.batches(rows, 4096)] == [65, 65, 65, 5]


@pytest.mark.parametrize("kind", ["nothing", "empty folder", "pipe", "other kind", "no parquet", "utf-16"])
def test_what_is_no_data_is_one_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("rows.parquet" if kind == "no parquet" else "rows.txt" if kind == "other kind" else "rows.jsonl")
    if kind == "empty folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "nothing":
        path.write_bytes('{"prompt": "x"}'.encode("utf-16") if kind == "utf-16" else b"no")
    with pytest.raises(DataFileError) as error:
        list(read_rows(path, ["prompt"]))
    assert str(path.name) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_line_more_in_a_file_moves_no_other_and_the_hash_says_that_it_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl")
    entry = Entry(path=path)
    before = [prompts.instruction(row, entry)["id"] for row in read_rows(path, ["prompt"])]
    old = content_hash(path)
    write(path, [{"prompt": "A new first one."}, *ROWS])
    assert [prompts.instruction(row, entry)["id"] for row in read_rows(path, ["prompt"])][1:] == before
    assert content_hash(path) != old


def test_an_answer_a_correction_and_a_pair_become_rows_of_their_tables(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.touch()
    entry = Entry(path=path, answers="answer", corrections="better", chosen="good", rejected="bad")
    row = DataRow("rows.jsonl", 1, {"prompt": "Why?", "answer": "So.", "better": "Thus.", "good": "a", "bad": "b"})
    record = prompts.instruction(row, entry)
    found = prompts.companions(row, entry, record, "t")
    assert {name: len(rows) for name, rows in found.items()} == {"responses": 3, "corrections": 1, "comparisons": 1}
    answer = found["responses"][0]
    assert found["corrections"][0] | {"id": "", "work_key": ""} == {
        "id": "", "parents": [record["id"], answer["id"]], "attempt_id": None, "work_key": "",
        "instruction_id": record["id"], "response_id": answer["id"], "template_id": "t", "text": "Thus.",
        "is_copy": False,
    }  # fmt: skip
    assert prompts.start_row(record, found)["given"] == ("answer",)
    assert "given" not in prompts.start_row(record, {})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "both or neither of path and lake"),
        ({"path": "gone.jsonl"}, "which is not there"),
        ({"path": ".", "chosen": "a"}, "got one of chosen and rejected"),
        ({"path": ".", "corrections": "a"}, "corrections: got them without answers"),
        ({"path": ".", "origin": "self_instruct"}, "origin: got 'self_instruct'"),
        ({"path": ".", "origin": "My Data!"}, "expected lower-case letters"),
        ({"path": ".", "tag": "v1"}, "tag: got one without lake"),
        ({"lake": ".", "table": "x; DROP"}, "expected a table's or view's name"),
    ],
)
def test_what_does_not_fit_together_is_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config.model_validate([entry])


@pytest.mark.parametrize("cell", ["", " ", "\n\t ", None, []])
def test_an_empty_cell_beside_a_prompt_adds_nothing_and_rejects_nothing(cell: Any) -> None:
    entry = Entry(path=Path(__file__), answers="answer", origin="own")
    row = DataRow("rows.jsonl", 1, {"prompt": "Why?", "answer": cell})
    found = prompts.instruction(row, entry)
    assert (found["state"], prompts.is_complete(row, entry)) == ("accepted", False)
    assert prompts.companions(row, entry, found, "t") == {"responses": []}


def test_two_entries_of_one_origin_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="two entries of the origin 'rows'"):
        Config.model_validate([{"path": write(tmp_path / name)} for name in ("rows.csv", "rows.jsonl")])
