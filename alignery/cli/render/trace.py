"""A trace as a tree: ancestors, the oldest first; the row; descendants."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text
from rich.tree import Tree

from alignery.cli.render.console import as_json, console, line, plain, short

TEXT = 240  # characters of a text
WORDS = 120  # characters of a prompt or principle
_ALL = 10**9


def trace(found: Mapping[str, Any], full: bool, json: bool) -> None:
    """The tree of `warehouse.query.trace.trace`."""
    if json:
        return as_json(found)
    draw = _Labels(full)
    by_relation: dict[str, list[Mapping[str, Any]]] = {"ancestor": [], "itself": [], "descendant": []}
    for node in found["nodes"]:
        by_relation[node["relation"]].append(node)
    (itself,) = by_relation["itself"]
    root = Tree(Text(f"{itself['label']} {found['id']}", "bold"), guide_style="dim")
    if by_relation["ancestor"]:
        above = root.add("comes from, the oldest first")
        for node in by_relation["ancestor"]:
            above.add(draw.node(node))
    root.add(draw.node(itself, "bold green"))
    if by_relation["descendant"]:
        branches = {itself["id"]: root.add("led to")}
        for node in by_relation["descendant"]:
            branches[node["id"]] = branches[node["under"]].add(draw.node(node))
    uses = root.add("in tags:" if found["uses"] else "in no tag")
    for use in found["uses"]:
        _use(uses, use)
    out = console()
    out.print(root)
    if found["cut"]:
        out.print(f"There are more {' and '.join(f'{relation}s' for relation in found['cut'])}: --full shows all.")
    return None


def _use(uses: Tree, use: Mapping[str, Any]) -> None:
    """A tag's view with the rows of it that are meant, and the models that read them."""
    rows = ", ".join(short(id) for id in use["ids"][:5]) + (" …" if len(use["ids"]) > 5 else "")
    text = Text.assemble((f"{use['view']} of {use['tag']}", "bold"), f" (snapshot {use['snapshot_id']}): {rows}")
    branch = uses.add(text)
    for model in use["models"]:
        trained = branch.add(Text.assemble("trained ", (Path(model["path"]).name, "bold magenta")))
        for above in model["upon"]:
            trained.add(Text.assemble("on top of it ", (Path(above["path"]).name, "magenta")))


class _Labels:
    """Labels of nodes; a prompt's words are shown where it comes first."""

    def __init__(self, full: bool) -> None:
        self.full = full
        self._shown: set[str] = set()

    def node(self, node: Mapping[str, Any], style: str = "bold") -> Text:
        head = Text.assemble((node["label"], style), " ", (short(node["id"]), "cyan"))
        head.append("".join(f" · {plain(fact)}" for fact in _facts(node)))
        lines = [head]
        if node.get("step"):
            when, run = f"{node['created_at']:%Y-%m-%d %H:%M:%S}", f"run {short(node['run_id'])}"
            model = _model(node["model"])
            facts = [node["step"], f"prompt {node['prompt_id']}", model, f"seed {node['seed']}", when, run]
            lines.append(Text(" · ".join(facts), "dim"))
            lines += self._words(node["prompt_id"], node["prompt"])
        if node.get("principle"):
            lines += self._words(node["principle_id"], node["principle"])
        texts: Sequence[str | None] = node.get("exemplars") or [node["text"]]
        lines += [Text(f"“{self._bounded(text, TEXT)}”") for text in texts if text is not None]
        return Text("\n").join(lines)

    def _words(self, name: str, words: str | None) -> list[Text]:
        """The text of a prompt or a principle, once."""
        if words is None or name in self._shown:
            return []
        self._shown.add(name)
        return [Text(f"{name}: {self._bounded(words, WORDS)}", "dim")]

    def _bounded(self, text: str, limit: int) -> str:
        return plain(text, _ALL) if self.full else line(text, limit)


def _facts(node: Mapping[str, Any]) -> list[str]:
    """A record's fields besides its text."""
    changed = {True: "changed", False: "unchanged", None: None}[node.get("changed")]
    copy = {True: "a copy", False: None, None: None}[node.get("is_copy")]
    of_round = f"round {node['round']}" if node.get("round") else None
    facts = [node.get("state"), node.get("reason"), node.get("topic"), node.get("origin"), node.get("kind"), of_round]
    of_type = {True: "a classification task", False: "no classification task", None: None}[node.get("classification")]
    facts += [node.get("question_type"), node.get("form"), of_type, node.get("principle_id"), changed, copy]
    facts += [node.get("marked_by"), node.get("verdict"), node.get("note")]
    return [str(fact) for fact in facts if fact]


def _model(identity: str) -> str:
    """A model's identity with a hash in it shortened."""
    return re.sub(r"[0-9a-f]{32,}", lambda hash: hash[0][:8], plain(identity))
