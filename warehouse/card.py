"""What an export says of itself: the manifest, and the card made from it.

Texts in a card come from models and are data: bounded, JSON inside a fence, and escaped
where they stand in a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from warehouse.lake import Lake
from warehouse.migrate import view_sql
from warehouse.schema import SCHEMA_VERSION, Row

_BOUND = 600  # characters of one text in a sample
_INLINE = 200  # characters of one text in a line
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_ABOUT = {
    "sft": "an instruction and the answer to learn, as messages",
    "preferences": "prompt, chosen (the final revision) and rejected (the first answer), as messages",
    "qac": "question, answer and its correction, for an Aligner; unchanged answers are kept",
}


@dataclass(frozen=True)
class Release:
    """What a publication is named and pinned to."""

    tag: str
    snapshot_id: int
    content_hash: str
    run_id: str
    message: str | None
    created_at: datetime


@dataclass(frozen=True)
class Exported:
    """One view as it was written: rows, sha256 over its rows' canonical JSON, its columns, its first row."""

    view: str
    rows: int
    sha256: str
    columns: tuple[str, ...]
    sample: Row | None


def manifest(
    pinned: Lake, release: Release, views: Mapping[str, Exported], models: Mapping[str, str]
) -> dict[str, Any]:
    """Everything that says what this export is and how to make it again."""
    return {
        "tag": release.tag,
        "snapshot_id": release.snapshot_id,
        "content_hash": release.content_hash,
        "schema_version": SCHEMA_VERSION,
        "run_id": release.run_id,
        "message": release.message,
        "created_at": release.created_at.isoformat(),
        "views": {
            name: {
                "rows": exported.rows,
                "sha256": exported.sha256,
                "columns": list(exported.columns),
                "data": f"data/{name}/train-00000-of-00001.parquet",
                "provenance": f"provenance/{name}.parquet",
                "query": view_sql(name),
            }
            for name, exported in views.items()
        },
        "steps": pinned.rows(
            "SELECT step, sum(attempts)::BIGINT AS attempts, sum(accepted)::BIGINT AS accepted,"
            " sum(tokens_out)::BIGINT AS tokens_out FROM funnel GROUP BY step ORDER BY min(started_at), step"
        ),
        "prompts": pinned.rows(
            "SELECT DISTINCT prompt_id AS id, prompt_hash AS hash FROM attempts WHERE state = 'accepted' UNION"
            " SELECT DISTINCT 'principle:' || principle_id, principle_hash FROM critiques ORDER BY ALL"
        ),
        "models": pinned.rows(
            "SELECT model, list_sort(list(DISTINCT step)) AS steps FROM attempts WHERE state = 'accepted'"
            " GROUP BY model ORDER BY model"
        ),
        "licences": dict(models),
    }


def render(facts: Mapping[str, Any], views: Mapping[str, Exported]) -> str:
    """The card: front matter that `datasets` reads, then what a person wants to know."""
    filled = {name: exported for name, exported in views.items() if exported.rows}
    parts = [
        _front_matter(facts, filled),
        f"# {facts['tag']}\n\nMade by Alignery. {_line(facts['message'] or '')}".rstrip(),
        _table(("", ""), [(key, facts[key]) for key in ("snapshot_id", "content_hash", "run_id", "created_at")]),
        "## Data\n\n" + _table(("configuration", "rows", "columns"), [_described(v) for v in views.values()]),
        "Each row's origin stands in `provenance/`, in the same order.",
        "## Loading\n\n" + _fenced("\n".join(_loading(name) for name in filled), "python"),
        "## What made it\n\n"
        + _table(
            ("step", "attempts", "accepted", "tokens out"),
            [(row["step"], row["attempts"], row["accepted"], row["tokens_out"]) for row in facts["steps"]],
        ),
        "## Models and licences\n\n"
        + _table(("model", "steps"), [(r["model"], ", ".join(r["steps"])) for r in facts["models"]]),
        _table(("name", "licence"), list(facts["licences"].items())),
        "## Prompts\n\n" + _table(("prompt", "hash"), [(row["id"], row["hash"]) for row in facts["prompts"]]),
        "## Samples",
        *(f"### {name}\n\n{_fenced(_sample(v.sample), 'json')}" for name, v in filled.items() if v.sample),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(facts: Mapping[str, Any], views: Mapping[str, Exported]) -> str:
    import yaml

    total = sum(exported.rows for exported in views.values())
    configs: list[dict[str, Any]] = [
        {"config_name": name, "data_files": [{"split": "train", "path": f"data/{name}/*.parquet"}]} for name in views
    ]
    configs[0]["default"] = True
    matter = {
        "pretty_name": f"Alignery {facts['tag']}",
        "tags": ["alignery", "synthetic", "alignment"],
        "size_categories": [next((name for limit, name in _SIZES if total < limit), "n>1M")],
        "configs": configs,
    }
    return f"---\n{yaml.safe_dump(matter, sort_keys=False)}---"


def _described(exported: Exported) -> tuple[str, int, str]:
    return exported.view, exported.rows, _ABOUT[exported.view]


def _loading(view: str) -> str:
    return f'datasets.load_dataset("path/to/this/folder", "{view}", split="train")'


def _table(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *([_line(str(cell)) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _line(text: str) -> str:
    """Text as it may stand in a line of Markdown: bounded, on one line, its marks escaped."""
    return re.sub(r"([\\`*\[\]<>#!|~&])", r"\\\1", " ".join(_bounded(text, _INLINE).split()))


def _sample(row: Row | None) -> str:
    return json.dumps(_shortened(row), indent=2, ensure_ascii=False)


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return _bounded(value, _BOUND)
    if isinstance(value, list):
        return [_shortened(item) for item in value[:10]]
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    return value


def _bounded(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + " …"


def _fenced(text: str, language: str) -> str:
    # JSON escapes line feeds, so no text can begin a line and close the fence; what else some renderer may
    # take for a line's end is escaped here.
    text = re.sub("[\x7f-\x9f\u2028\u2029]", lambda mark: f"\\u{ord(mark[0]):04x}", text)
    return f"```{language}\n{text}\n```"
