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
    "topic": "nature and science",
    "count": 7,
    "exemplars": ["Name three things that float.", "Is a whale a fish? Say why."],
    "demos": [
        {"instruction": "Is the word a noun or a verb?", "input": "run", "output": "verb", "classification": True},
        {"instruction": "Why is ice slippery?", "input": "", "output": "A film of water.", "classification": False},
    ],
    "type": {"name": "science", "hint": "needs an exact law"},
    "types": [
        {"name": "science", "hint": "needs an exact law"},
        {"name": "things to come", "hint": "asks what will be"},
    ],
    "examples": ["Melting ice"],
    "hints": [{"question_type": "science", "topic": "Tides"}, {"question_type": "things to come", "topic": "Mars"}],
}
OTHER = {  # where a prompt means another thing by a variable's name
    "red_team/questions": {
        "exemplars": [{"question_type": "science", "topic": "Melting ice", "text": "Does the glass run over?"}]
    }
}


def rendered(id: str) -> str:
    prompt, values = Library().prompt(id), VALUES | OTHER.get(id, {})
    sent = prompt.render(**{name: values[name] for name in prompt.variables})
    texts = [sent] if isinstance(sent, str) else [f"[{turn['role']}]\n{turn['content']}" for turn in sent]
    return "\n".join(texts) + "\n"


@pytest.mark.parametrize("id", IDS)
def test_the_prompt_is_its_golden_render(id: str) -> None:
    assert rendered(id) == (GOLDEN / f"{id}.txt").read_text(encoding="utf-8")


def test_each_prompt_of_the_writers_has_one() -> None:
    names = ("generate", "generate_bare", "classify", "input_first", "output_first")
    assert {f"self_instruct/{name}" for name in names} | {"red_team/topics", "red_team/questions"} <= set(IDS)


if __name__ == "__main__":
    for each in IDS:
        (GOLDEN / f"{each}.txt").write_text(rendered(each), encoding="utf-8")
