"""Full prompts as they are sent, in golden/<id>.txt: read them aloud. A changed word is a changed file.

`PYTHONPATH=. python tests/prompts/test_golden.py` writes them anew; a prompt joins them as an empty file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prompts import Library

GOLDEN = Path(__file__).parent / "golden"
IDS = sorted(str(path.relative_to(GOLDEN)).removesuffix(".txt") for path in GOLDEN.rglob("*.txt"))
VALUES: dict[str, Any] = {
    "instruction": "Why is the sky dark at night?",
    "response": "Because the sun is below the horizon, and little light is scattered in the air.",
    "response_a": "Because the sun is below the horizon, and little light is scattered in the air.",
    "response_b": "It just is.",
}

PRINCIPLE = Library().principles()[10]
VALUES |= {
    "question": VALUES["instruction"],
    "answer": VALUES["response"],
    "critique_request": PRINCIPLE.critique,
    "critique": 'It does. "Little light is scattered in the air" holds for the night, and the answer does not say so.',
    "revision_request": PRINCIPLE.revision,
    "criterion": PRINCIPLE.criterion,
    "thought": "Answer A gives a reason that can be checked. Answer B says nothing that could be false.",
} | dict(zip(("rules", "exemplars"), Library().rules(), strict=True))


def rendered(id: str) -> str:
    prompt = Library().prompt(id)
    sent = prompt.render(**{name: VALUES[name] for name in prompt.variables})
    texts = [sent] if isinstance(sent, str) else [f"[{turn['role']}]\n{turn['content']}" for turn in sent]
    return "\n".join(texts) + "\n"


@pytest.mark.parametrize("id", IDS)
def test_the_prompt_is_its_golden_render(id: str) -> None:
    assert rendered(id) == (GOLDEN / f"{id}.txt").read_text(encoding="utf-8")


def test_each_rating_and_judging_prompt_has_one() -> None:
    assert {"judge/harmless", "judge/helpful", "rate/accuracy", "rate/helpfulness", "rate/overall"} <= set(IDS)


def test_each_prompt_of_the_alignment_methods_has_one() -> None:
    asked = {"aligner/correct", "self_align/answer", "self_align/verbose", "squad/overall", "squad/ethical"}
    asked |= {f"constitutional/{name}" for name in ("critique", "revision", "compare", "weigh", "decide")}
    assert asked | {"squad/factual", "squad/helpful"} <= set(IDS)


if __name__ == "__main__":
    for each in IDS:
        (GOLDEN / f"{each}.txt").write_text(rendered(each), encoding="utf-8")
