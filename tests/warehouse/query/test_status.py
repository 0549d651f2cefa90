"""What the command line prints, as plain data."""

import pytest
from lake_rows import commit, instruction

from warehouse import LakeUsageError
from warehouse.query import status as look
from warehouse.schema.lake_schema import default


def test_tables_and_views_are_listed_with_their_rows(lake):
    commit(lake, instructions=[instruction("i1"), instruction("i2")])
    listed = {item["name"]: item for item in look.tables(lake)}
    assert [listed[name]["rows"] for name in ("instructions", "attempts", "commits", "lineage", "sft")] == [
        2,
        2,
        1,
        2,
        0,
    ]
    assert [listed[name]["kind"] for name in ("instructions", "attempts", "sft")] == ["record", "ledger", "view"]
    assert listed["sft"]["comment"].startswith("Supervised fine-tuning")
    assert listed["attempts"]["comment"] == "Every call made: accepted, rejected, unparsed or failed"


def test_show_gives_the_newest_rows_first(lake):
    commit(
        lake, instructions=[instruction("old", minute=1), instruction("new", minute=2), instruction("mid", minute=1.5)]
    )
    assert [row["id"] for row in look.show(lake, "instructions", 2)] == ["new", "mid"]
    for name in ("funnel", "lineage", "tags"):
        look.show(lake, name)
    with pytest.raises(LakeUsageError, match=r"no table or view 'nope'; .* lists them: .*instructions, "):
        look.show(lake, "nope")


def test_status_says_how_each_run_stands(lake):
    for id, state in (("r1", "started"), ("r2", "started"), ("r1", "finished")):
        lake.ledger.write("runs", [{"id": id, "state": state, "flow": "refresh"}], run_id=id, message=state)
    commit(lake, run_id="r2", instructions=[instruction("i1")])
    status = look.status(lake)
    assert [(run["id"], run["state"]) for run in status["runs"]] == [("r2", "started"), ("r1", "finished")]
    assert {row["run_id"] for row in status["funnel"]} == {"r2"}
    assert status["snapshot_id"] == lake.snapshot()


def test_schema_names_columns_types_and_comments(unwritten):
    columns = {column["name"]: column for column in unwritten.columns("ratings")}
    assert columns["score"]["type"] == "DOUBLE"
    assert columns["score"]["comment"] == "the score, by halves; nano gives whole ones from 1 [0 to 5]"
    assert [column["name"] for column in unwritten.columns("qac")][:3] == ["question", "answer", "correction"]
    with pytest.raises(LakeUsageError, match=r"no table 'nope'"):
        unwritten.columns("nope")


@pytest.mark.parametrize("name", [*default().tables, *default().views])
def test_every_table_and_view_can_be_shown(unwritten, name):
    assert isinstance(look.show(unwritten, name), list)
