"""A shape's view has the columns by which its rows are marked; a view without them is one sentence that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignery.cli import entry
from alignery.declarations import Shape
from tasks.methods.registry import installed
from warehouse import Lake
from warehouse.errors import LakeUsageError
from warehouse.marks.queue import queue
from warehouse.schema.lake_schema import LakeSchema
from warehouse.schema.shapes import check_shapes

MESSAGES = "[{role: 'user', content: 'a'}, {role: 'assistant', content: 'b'}] AS messages"
METHOD = """
from pathlib import Path
from alignery import Method, MethodConfig, Shape

method = Method(
    "greet", MethodConfig, lambda library, config, context: [],
    views=Path(__file__).parent / "views", shapes=[Shape.of_messages("greetings", "greetings")],
)
"""
PRESET = """
about: x
models: {generator: {engine: scripted, replies: [x]}}
methods: [./method.py]
line: {self_instruct: {}, respond: {}, greet: {}}
"""


def schema(view: str, shape: Shape | None = None) -> LakeSchema:
    methods = installed()
    return LakeSchema(
        tuple(methods.tables),
        methods.views | {"greetings": view},
        (shape or Shape.of_messages("greetings", "greetings"),),
    )


def test_a_view_with_its_columns_is_taken() -> None:
    check_shapes(schema(f"SELECT '1' AS id, '2' AS instruction_id, {MESSAGES}"))


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (
            f"SELECT '1' AS id, {MESSAGES}",
            r"view greetings \(greetings.sql\): got no column 'instruction_id' in \['id', 'messages'\], .*; select it",
        ),
        ("SELECT '2' AS instruction_id, 3 AS id", r"prompt: got 'messages\[1\].content', expected SQL of the columns"),
    ],
)
def test_a_view_that_lacks_a_column_is_named(view: str, message: str) -> None:
    with pytest.raises(LakeUsageError, match=message):
        check_shapes(schema(view))


def test_a_queue_names_the_column(empty: Path) -> None:
    with (
        Lake.open(empty, schema=schema(f"SELECT '1' AS id, {MESSAGES}"), read_only=True) as lake,
        pytest.raises(LakeUsageError, match=r"greetings.sql\): got no column 'instruction_id'"),
    ):
        queue(lake, "greetings", "random", 3)


def test_check_reports_it_before_there_is_a_lake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "views").mkdir()
    (tmp_path / "views/greetings.sql").write_text(f"SELECT '1' AS id, {MESSAGES}")
    (tmp_path / "method.py").write_text(METHOD)
    (tmp_path / "preset.yaml").write_text(PRESET)
    home = str(tmp_path / "home")
    code = entry.main(["check", "--no-ask", "--json", "--preset", str(tmp_path / "preset.yaml"), "--home", home])
    assert code == 1
    assert "view greetings (greetings.sql): got no column 'instruction_id'" in capsys.readouterr().out
