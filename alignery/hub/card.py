"""The card of a trained model, which a hub shows: what it was trained from, on what and how."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignery.errors import UsageError
from alignery.untrusted import excerpt

FACTS = ("recipe", "rows", "steps", "tokens", "seed", "loss_first", "loss_last", "seconds")  # of report.json


def model_card(folder: Path, row: Mapping[str, Any], licence: str | None) -> str:
    """The card as Markdown with the front matter that a hub reads.

    Args:
        folder: the model's, with its report.json where there is one.
        row: of the table `models`: recipe, tag.
        licence: of the model that it was trained from; None is not stated.

    Raises:
        UsageError: report.json is damaged.
    """
    name = (licence or "unknown").lower()
    name = name if re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", name) else "other"
    report = folder / "report.json"
    try:
        facts = dict(json.loads(report.read_text(encoding="utf-8"))) if report.is_file() else {}
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{report}: got no JSON object ({excerpt(error, 80)}), expected retrain's report; remove it or train again"
        ) from error
    base = Path(str(facts.get("base_model", ""))).name  # without the folders of this machine
    lines = [
        f"---\nlicense: {name}\nlibrary_name: transformers\ntags: [alignery]\n---",
        f"# {_plain(folder.name)}",
        f"Trained by Alignery with the recipe `{_plain(row['recipe'])}` on the published tag `{_plain(row['tag'])}`"
        + (f", from `{_plain(base)}`." if base else "."),
        "\n".join(["| | |", "|---|---|", *(f"| {key} | {_plain(facts[key])} |" for key in FACTS if key in facts)]),
    ]
    return "\n\n".join(lines) + "\n"


def _plain(value: object) -> str:
    """A value in a line of Markdown, of which nothing is a mark."""
    return re.sub(r"[`|<>\[\]*_#]", " ", excerpt(value, 80))
