"""CSV with wrong quotes: each line of the file is accepted, or rejected by its number."""

from __future__ import annotations

import csv
import time
import tracemalloc
from pathlib import Path

import pytest

from tasks import datafiles
from tasks.datafiles import DataRow, read_rows


def rows_of(path: Path, text: str) -> tuple[list[DataRow], list[DataRow]]:
    """The rows of a file that has this text: the sound ones, and the faulty ones."""
    path.write_text(text, newline="")
    found = list(read_rows(path, ["prompt", "answer"]))
    return [row for row in found if not row.fault], [row for row in found if row.fault]


@pytest.mark.parametrize(
    ("name", "stray", "faulty"),
    [
        ("rows.csv", '"Say ""hi, a', [12]),  # never closed
        ("rows.csv", '"Say hi, a"b', [12]),
        ("rows.csv", 'Say hi,"a', [12]),
        ("rows.csv", '"one, a\n"two, b', [12, 13]),
        ("rows.csv", 'Say hi,"a""', [12]),
        ("rows.tsv", '"Say hi\ta', [12]),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_stray_quote_costs_its_own_row(name: str, stray: str, faulty: list[int], end: str, tmp_path: Path) -> None:
    mark = "\t" if name.endswith("tsv") else ","
    after = [f'"in two{end}lines, {n}"{mark}"a ""quoted"" word"' for n in range(2)]
    body = [
        f"prompt{mark}answer",
        *(f"q{n}{mark}a{n}" for n in range(10)),
        *stray.split("\n"),
        *(f"Q{n}{mark}A{n}" for n in range(1000)),
    ]
    sound, wrong = rows_of(tmp_path / name, end.join([*body, *after, ""]))
    assert [row.number for row in wrong] == faulty
    assert all("are its quotes right?" in str(row.fault) for row in wrong)
    assert [row.values["prompt"] for row in sound] == [
        *(f"q{n}" for n in range(10)),
        *(f"Q{n}" for n in range(1000)),
        *(f"in two{end}lines, {n}" for n in range(2)),
    ]
    assert [row.number for row in sound[10:]] == [faulty[-1] + 1 + n for n in range(1001)] + [faulty[-1] + 1003]


def test_lone_quotes_at_the_beginning_of_cells_lose_two_rows_and_none_between(tmp_path: Path) -> None:
    lines = ["prompt\tanswer", *(f"{'' if n % 500 else chr(34)}q{n}\ta" for n in range(1, 1100))]
    sound, wrong = rows_of(tmp_path / "rows.tsv", "\n".join(lines))
    assert [row.number for row in wrong] == [501, 1001]
    assert len(sound) == 1097


def test_a_row_of_another_length_over_several_lines_names_them(tmp_path: Path) -> None:
    sound, wrong = rows_of(tmp_path / "rows.csv", 'prompt,answer\n"a\nb, c",d,e\nq,a\n')
    assert [(row.number, row.fault) for row in wrong] == [
        (2, "got 3 fields, expected 2, on lines 2 to 3; are its quotes right?")
    ]
    assert [row.number for row in sound] == [4]


def test_whatever_a_writer_wrote_is_read_to_the_letter(tmp_path: Path) -> None:
    texts = ['"', '""', "a\nb", "a\r\nb\n", ",", 'x "y" z', "", " ", "\n\n", '",', "é"]
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "answer"])
        writer.writerows((one, other) for one in texts for other in texts)
    found = list(read_rows(tmp_path / "rows.csv", ["prompt", "answer"]))
    assert [(row.values["prompt"], row.values["answer"]) for row in found if not row.fault] == [
        (one, other) for one in texts for other in texts
    ]


@pytest.mark.parametrize("line", ['a","\n', '"x\n', '"x""\n', 'a,"\n', "x" * 99 + "\n"])
def test_no_file_takes_more_than_its_share_of_memory_or_time(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datafiles, "LONGEST", 10_000)
    text, count = '"' + line, 60_000 // len(line)
    (tmp_path / "rows.csv").write_text("prompt,answer\n" + text + line * count + "x" * 60_000 + "\nq,a\n")
    tracemalloc.start()
    begun, numbers = time.process_time(), 0
    last: DataRow | None = None
    try:
        for row in read_rows(tmp_path / "rows.csv", ["prompt", "answer"]):
            numbers, last = numbers + 1, row
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert last is not None
    assert (last.values, last.fault) == ({"prompt": "q", "answer": "a"}, None)
    assert numbers >= count // 2  # where two lines are one row, it says so
    assert peak < 3_000_000
    assert time.process_time() - begun < 20
