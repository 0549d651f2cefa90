"""An export's description: the manifest, and the card made from it.

Texts in a card come from models and are data: bounded, JSON inside a fence, and escaped within a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alignery.untrusted import printable, printable_json
from warehouse.export.neighbours import NEAR
from warehouse.lake import Lake
from warehouse.schema.tables import SCHEMA_VERSION, Row

_MADE_IT = "step NOT LIKE 'evaluate.%'"  # answers to held-out prompts are never exported
_BOUND = 600  # characters of one text in a sample
_INLINE = 200  # characters of one text in a line
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class Release:
    """The snapshot of an export, and its facts; `tag` is None if it has no name."""

    tag: str | None
    snapshot_id: int
    run_id: str | None
    message: str | None
    created_at: datetime

    @property
    def name(self) -> str:
        return self.tag or f"snapshot {self.snapshot_id}"


@dataclass(frozen=True)
class Split:
    """One split as it was written: the hash of its rows, and its files (path → rows, sha256)."""

    content: str
    data: dict[str, Row]
    provenance: dict[str, Row]

    @property
    def rows(self) -> int:
        return sum(file["rows"] for file in self.data.values())


@dataclass(frozen=True)
class ExportedShape:
    """One shape as it was written: what it is, its query, the trainer's columns, its splits, its first row."""

    shape: str
    about: str
    query: str
    columns: tuple[str, ...]
    splits: dict[str, Split]
    sample: Row | None
    contaminated: int = 0  # rows left out because their prompts are in evaluation sets
    mixture: Row | None = None  # of the training split: target shares and realised ones

    @property
    def rows(self) -> int:
        return sum(split.rows for split in self.splits.values())


def manifest(
    pinned: Lake,
    release: Release,
    content_hash: str,
    held_out: float,
    shapes: Mapping[str, ExportedShape],
    licences: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that describes this export and how to make it again."""
    splits = [split for exported in shapes.values() for split in exported.splits.values()]
    return {
        "tag": release.tag,
        "snapshot_id": release.snapshot_id,
        "content_hash": content_hash,
        "schema_version": SCHEMA_VERSION,
        "run_id": release.run_id,
        "message": release.message,
        "created_at": release.created_at.isoformat(),
        "held_out": held_out,
        "shapes": {
            name: {
                "columns": list(exported.columns),
                "query": exported.query,
                "rows": exported.rows,
                "contaminated": exported.contaminated,
                "splits": {
                    part: {"rows": split.rows, "content_hash": split.content} for part, split in exported.splits.items()
                },
            }
            | ({"mixture": exported.mixture} if exported.mixture else {})
            for name, exported in shapes.items()
        },
        "files": {path: file for split in splits for path, file in (split.data | split.provenance).items()},
        # Not from the view funnel, which distinguishes work keys, and so holds them all in memory.
        "steps": pinned.rows(
            "SELECT * EXCLUDE began FROM (SELECT step, count(*) AS attempts,"
            " count(*) FILTER (state = 'accepted') AS accepted, coalesce(sum(tokens_out), 0)::BIGINT AS tokens_out,"
            f" min(created_at) AS began FROM attempts WHERE {_MADE_IT} GROUP BY step UNION ALL"
            " SELECT step, 0, count(*) FILTER (state = 'accepted'), 0, min(created_at) FROM candidates GROUP BY step)"
            " ORDER BY began, step"
        ),
        "prompts": pinned.rows(
            "SELECT DISTINCT prompt_id AS id, prompt_hash AS hash FROM attempts WHERE state = 'accepted'"
            f" AND {_MADE_IT} UNION"
            " SELECT DISTINCT 'principle:' || principle_id, principle_hash FROM critiques UNION"
            " SELECT DISTINCT 'principle:' || principle_id || ':revision', principle_hash FROM revisions ORDER BY ALL"
        ),
        "models": pinned.rows(
            "SELECT model, list_sort(list(DISTINCT step)) AS steps FROM attempts WHERE state = 'accepted'"
            f" AND {_MADE_IT} GROUP BY model ORDER BY model"
        ),
        "licences": dict(licences),
        "judged": _judged(pinned),
    }


def _judged(pinned: Lake) -> Row:
    """Revisions that a judge compared with the first answer, and those that it found better."""
    return pinned.rows("SELECT count(*) AS compared, count(*) FILTER (state = 'accepted') AS better FROM agreements")[0]


def render(release: Release, facts: Mapping[str, Any], shapes: Mapping[str, ExportedShape]) -> str:
    """The card: front matter that `datasets` reads, then what a person wants to know."""
    filled = {name: exported for name, exported in shapes.items() if exported.rows}
    parts = [
        _front_matter(release, facts, filled),
        f"# {release.name}\n\nMade by Alignery. {_line(release.message or '')}".rstrip(),
        _table(("", ""), [(key, facts[key]) for key in ("snapshot_id", "content_hash", "run_id", "created_at")]),
        "## Data\n\n" + _table(("shape", "train", "test", "columns", ""), [_described(v) for v in shapes.values()]),
        f"The test split holds out {facts['held_out']:.4g} of the prompts; a prompt's text decides, so it is on the "
        "same side in every export. Each row's origin is in `provenance/`, file by file in the same order.",
        *_neighbours(facts["neighbours"]),
        *(text for exported in filled.values() if exported.mixture for text in _mixture(exported.mixture)),
        "## Loading\n\n" + _fenced("\n".join(_loading(name, len(shapes) > 1) for name in filled), "python"),
        "## What made it\n\n"
        + _table(
            ("step", "attempts", "accepted", "tokens out"),
            [(row["step"], row["attempts"], row["accepted"], row["tokens_out"]) for row in facts["steps"]],
        ),
        *_agreement(facts["judged"]),
        "## Models and licences\n\n"
        + _table(
            ("model", "licence", "steps"),
            [
                (r["model"], facts["licences"].get(r["model"], "not stated"), ", ".join(r["steps"]))
                for r in facts["models"]
            ],
        ),
        "## Prompts\n\n" + _table(("prompt", "hash"), [(row["id"], row["hash"]) for row in facts["prompts"]]),
        "## Samples",
        *(f"### {name}\n\n{_fenced(_sample(v.sample), 'json')}" for name, v in filled.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _neighbours(found: Row | None) -> list[str]:
    if not found:
        return []
    share = f"{found['near']} ({found['near'] / found['tested']:.0%})"
    return [
        f"Of {found['tested']} instructions of the test split, {share} have a near-duplicate (ROUGE-L above {NEAR}) in "
        "the training split, before any selection; where these are many, a score on the test split says little of new "
        "prompts."
    ]


def _mixture(found: Row) -> list[str]:
    """What the training split is mixed of: the shares that were asked for beside those that it has."""
    how = f"min(n, {found['cap']})" if found["cap"] else "n"
    how = f"{how}^(1/{found['temperature']:g})" if found["temperature"] != 1 else how
    again = sum(one["repeated"] for one in found["parts"])
    repeats = f"{again} rows are repeats." if again else "No row is repeated."
    parts = [
        (one["part"], one["there"], f"{one['target']:.4f}", one["rows"], f"{one['share']:.4f}", one["repeated"])
        for one in found["parts"]
    ]
    texts = [
        f"## Mixture\n\nThe training split, by {_line(found['by'])}, in proportion to {how} of n rows (seed "
        f"{found['seed']}). {repeats} The test split is not mixed.",
        _table((found["by"], "rows there", "target", "rows", "share", "repeated"), parts),
    ]
    forms = [(one["form"], f"{one['target']:.4f}", one["rows"], f"{one['share']:.4f}") for one in found["forms"]]
    return [*texts, *([_table(("form", "target", "rows", "share"), forms)] if forms else [])]


def _agreement(judged: Row) -> list[str]:
    if not judged["compared"]:
        return []
    return [
        f"A judge compared {judged['compared']} revisions with the first answer and found {judged['better']} better "
        f"({judged['better'] / judged['compared']:.0%}); those that it found worse are not in `preferences`."
    ]


def _front_matter(release: Release, facts: Mapping[str, Any], filled: Mapping[str, ExportedShape]) -> str:
    import yaml

    total = sum(exported.rows for exported in filled.values())
    configs: list[dict[str, Any]] = [{"config_name": name, "data_files": _splits(e)} for name, e in filled.items()]
    configs[0]["default"] = True
    matter = {
        "pretty_name": f"Alignery {release.name}",
        "license": _licence(facts),
        "task_categories": ["text-generation"],
        "tags": ["alignery", "synthetic", "alignment"],
        "size_categories": [next((name for limit, name in _SIZES if total < limit), "n>1M")],
        "configs": configs,
    }
    return f"---\n{yaml.safe_dump(matter, sort_keys=False)}---"


def _splits(exported: ExportedShape) -> list[dict[str, str]]:
    """The splits that have rows, because `datasets` refuses a file without any."""
    filled = {name: next(iter(split.data)) for name, split in exported.splits.items() if split.rows}
    return [{"split": name, "path": f"{first.rpartition('/')[0]}/{name}-*.parquet"} for name, first in filled.items()]


def _licence(facts: Mapping[str, Any]) -> str | list[str]:
    """The licences of the models that wrote the rows, as the hub names them; 'unknown' where one is not stated."""
    stated = {facts["licences"].get(row["model"], "unknown").lower() for row in facts["models"]}
    names = sorted({text if re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", text) else "other" for text in stated})
    if not names or "unknown" in names:
        return "unknown"
    return names if len(names) > 1 else names[0]


def _described(exported: ExportedShape) -> tuple[Any, ...]:
    counts = (split.rows for split in exported.splits.values())
    left_out = exported.contaminated
    less = f"; {left_out} rows left out, whose prompts are in evaluation sets" if left_out else ""
    return exported.shape, *counts, ", ".join(exported.columns), exported.about + less


def _loading(shape: str, named: bool) -> str:
    folder = f'"path/to/this/folder", "{shape}"' if named else '"path/to/this/folder"'
    return f"datasets.load_dataset({folder})"


def _table(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *([_line(str(cell)) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _line(text: str) -> str:
    """Text made safe for a line of Markdown: bounded, on one line, special characters escaped."""
    return re.sub(r"([\\`*\[\]<>#!|~&])", r"\\\1", " ".join(printable(_bounded(text, _INLINE)).split()))


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
    # take for a line's end, or for a command, is escaped here.
    return f"```{language}\n{printable_json(text)}\n```"
