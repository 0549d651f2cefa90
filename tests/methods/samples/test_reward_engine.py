"""A reward model as an engine: numbers for conversations, in any company, and errors for everything else."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from nano.player import CHECKPOINT
from tasks.engines import Completion, EngineDown, RequestRefused, Sampling, SpecError, open_engine, parse_spec

ASKED = [
    [{"role": "user", "content": f"How do I calm {animal}?"}, {"role": "assistant", "content": answer}]
    for animal in ("a cat", "my two big dogs", "a horse")
    for answer in ("Make the room quiet.", "No.", "Sit near it and speak in a soft voice, and then wait.")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nano with a head of one label, as the recipe `reward` saves it."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(3)
    made = tmp_path_factory.mktemp("reward") / "model"
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    model = AutoModelForSequenceClassification.from_pretrained(CHECKPOINT, num_labels=1)
    model.config.pad_token_id = tokenizer.pad_token_id
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    return made


def spec(folder: Path, **more: object) -> dict[str, object]:
    return {"engine": "reward", "model": str(folder), "threads": 1} | more


def asked(folder: Path, prompts: list, **more: object) -> list[Completion | BaseException]:
    async def main() -> list[Completion | BaseException]:
        async with open_engine(spec(folder, **more)) as engine:
            return await asyncio.gather(
                *(engine.generate(prompt, Sampling()) for prompt in prompts), return_exceptions=True
            )

    return asyncio.run(main())


def test_a_score_is_the_models_own_whatever_stands_beside_it(folder: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    together, alone = asked(folder, ASKED), asked(folder, ASKED, batch_size=1)
    for prompt, one, other in zip(ASKED, together, alone, strict=True):
        ids = tokenizer.apply_chat_template(prompt, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            score = model(**ids).logits[0, 0].item()
        assert isinstance(one, Completion)
        assert isinstance(other, Completion)
        assert float(one.text) == pytest.approx(score, abs=1e-4)
        assert float(other.text) == pytest.approx(score, abs=1e-4)
        assert (one.tokens_in, one.tokens_out, one.finish_reason) == (ids["input_ids"].shape[1], 0, "stop")
    assert len({one.text for one in together if isinstance(one, Completion)}) == len(ASKED)


def test_what_is_no_conversation_fails_its_own_row(folder: Path) -> None:
    long = [{"role": "user", "content": "a " * 3000}, {"role": "assistant", "content": "b"}]
    found = asked(folder, ["Score this.", ASKED[0][:1], long, ASKED[0]])
    assert [type(one) for one in found] == [RequestRefused, RequestRefused, RequestRefused, Completion]
    assert "ends with the assistant's answer" in str(found[0])
    assert "conversation too long" in str(found[2])


def test_it_chooses_nothing_and_after_its_end_answers_nobody(folder: Path) -> None:
    async def main() -> None:
        async with open_engine(spec(folder)) as engine:
            with pytest.raises(RequestRefused, match="chooses none"):
                await engine.choose(ASKED[0], ["A", "B"])
        with pytest.raises(EngineDown, match="closed"):
            await engine.generate(ASKED[0], Sampling())

    asyncio.run(main())


def test_it_is_known_by_its_weights_and_not_as_a_language_model(folder: Path, tmp_path: Path) -> None:
    known = parse_spec(spec(folder)).identity()
    assert known.startswith("reward:float32:")
    assert parse_spec(spec(shutil.copytree(folder, tmp_path / "moved"))).identity() == known
    assert parse_spec({"engine": "transformers", "model": str(folder)}).identity() != known
    config = tmp_path / "moved" / "config.json"
    config.write_text(config.read_text().replace('"pad_token_id"', '"other"'))
    assert parse_spec(spec(tmp_path / "moved")).identity() != known


def test_a_language_model_is_no_reward_model() -> None:
    async def main() -> None:
        async with open_engine(spec(CHECKPOINT)):
            pass

    with pytest.raises(SpecError, match="is no reward model"):
        asyncio.run(main())
