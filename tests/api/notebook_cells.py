"""Runs a notebook's code cells in order, in one process and the folder it is started in, and says what they showed.

    python tests/api/notebook_cells.py docs/notebook.ipynb --write     # with the outputs of this run

Each cell ends as in Jupyter: the value of its last line is shown as what it draws of itself, or as text.
"""

from __future__ import annotations

import ast
import io
import json
import os
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

FORMS = {"_repr_svg_": "image/svg+xml", "_repr_html_": "text/html"}
ROOT = Path(__file__).parents[2]
PLAIN = 200  # characters of a value's text, shown beside what it draws


def run(notebook: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The outputs of each code cell, as the format of notebooks has them."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [_run("".join(cell["source"]), number, names) for number, cell in enumerate(cells, 1)]


def _run(source: str, number: int, names: dict[str, Any]) -> list[dict[str, Any]]:
    body = ast.parse(source)
    shows = isinstance(body.body[-1], ast.Expr) and not source.rstrip().endswith(";")
    last = ast.Expression(body.body.pop().value) if shows else None  # type: ignore[attr-defined]
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(body, f"cell {number}", "exec"), names)
        value = eval(compile(last, f"cell {number}", "eval"), names) if last else None
    outputs: list[dict[str, Any]] = []
    if text := printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": text.splitlines(keepends=True)})
    if value is not None:
        shown = {
            form: getattr(value, name)().splitlines(keepends=True)
            for name, form in FORMS.items()
            if hasattr(value, name)
        }
        data = shown | {"text/plain": [repr(value).replace(f"{ROOT}/", "")[:PLAIN]]}
        outputs.append({"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data})
    return outputs


def main() -> None:
    path = Path(sys.argv[1]).absolute()
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if "--write" not in sys.argv:
        print(json.dumps(run(notebook)), file=sys.__stdout__)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        outputs = run(notebook)
    for number, cell in enumerate((cell for cell in notebook["cells"] if cell["cell_type"] == "code"), 1):
        cell["execution_count"], cell["outputs"] = number, outputs[number - 1]
    text = json.dumps(notebook, indent=1, ensure_ascii=False).replace(folder, "/home/you")
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
