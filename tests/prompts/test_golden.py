"""Full prompts as they are sent, in golden/<id>.txt: read them aloud. A changed word is a changed file.

`PYTHONPATH=. python tests/prompts/test_golden.py` rewrites them; a prompt is added as an empty file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prompts import HERE, Library

GOLDEN = Path(__file__).parent / "golden"
IDS = sorted(
    str(path.relative_to(HERE).with_suffix(""))
    for path in HERE.rglob("*.yaml")
    if "." not in path.stem and "variables:" in path.read_text(encoding="utf-8")
)
VALUES: dict[str, Any] = {
    "instruction": "Why is the sky dark at night?",
    "response": "Because the sun is below the horizon, and little light is scattered in the air.",
    "good": "Because the sun is below the horizon, and little light is scattered in the air.",
    "bad": "It just is.",
    "response_a": "Because the sun is below the horizon, and little light is scattered in the air.",
    "response_b": "It just is.",
    "context": "Question: Why is the sky dark at night?\nAnswer:",
    "options": "A. It has no light of its own.\nB. It is painted black.",
    "answers": ["It just is."],
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
    "exchanges": [
        {"user": "Why does ice float?", "assistant": "It is less dense than water."},
        {"user": "Do other liquids do that?", "assistant": "A few do, such as gallium."},
    ],
    "operation": {"name": "deepen", "text": Library().wordings("evolve/operations")[1].text},
    "persona": {"name": "bus-driver", "text": Library().wordings("personas/personas")[1].text},
    "prefix": "<|im_start|>user\n",
}

PRINCIPLE = Library().principles()[10]
VALUES |= {
    "question": VALUES["instruction"],
    "answer": VALUES["response"],
    "critique_request": PRINCIPLE.critique,
    "critique": '"Little light is scattered in the air" is wrong: there is little light to scatter.',
    "revision_request": PRINCIPLE.revision,
    "criterion": PRINCIPLE.criterion,
    "principle": PRINCIPLE.criterion,
    "negated": True,
    "proposition": Library().propositions()[0].text,
    "thought": "Answer A gives a reason that can be checked. Answer B says nothing that could be false.",
}
OTHER = {  # where a prompt means another thing by a variable's name
    "red_team/questions": {
        "exemplars": [{"question_type": "science", "topic": "Melting ice", "text": "Does the glass run over?"}]
    },
    "mixing/few": {"examples": [{"instruction": "Why is ice slippery?", "answer": "A film of water."}]},
    "translate/text": {
        "language": "German",
        "quotes": True,
        "examples": [{"text": "Is it far?", "translation": "Ist es weit?"}],
        "text": 'Why does `"a" + 1` fail? The error says "no".',
    },
    "translate/answer": {
        "words": Library().languages()["de"].model_dump(),
        "instruction": "Warum ist der Himmel nachts dunkel?",
    },
    "self_align/answer": dict(zip(("rules", "exemplars"), Library().rules(), strict=True)),
}


def rendered(id: str) -> str:
    prompt, values = Library().prompt(id), VALUES | OTHER.get(id, {})
    sent = prompt.render(**{name: values[name] for name in prompt.variables})
    texts = [sent] if isinstance(sent, str) else [f"[{turn['role']}]\n{turn['content']}" for turn in sent]
    return "\n".join(texts) + "\n"


@pytest.mark.parametrize("id", IDS)
def test_the_prompt_is_its_golden_render(id: str) -> None:
    assert rendered(id) == (GOLDEN / f"{id}.txt").read_text(encoding="utf-8")


def test_every_prompt_has_one() -> None:
    assert sorted(str(path.relative_to(GOLDEN).with_suffix("")) for path in GOLDEN.rglob("*.txt")) == IDS


if __name__ == "__main__":
    for each in IDS:
        (GOLDEN / each).parent.mkdir(exist_ok=True)
        (GOLDEN / f"{each}.txt").write_text(rendered(each), encoding="utf-8")
