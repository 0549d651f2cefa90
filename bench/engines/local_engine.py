"""The transformers engine against plain `generate`, on nano's own prompts; ratios of one run, alternating.

    OMP_NUM_THREADS=1 python bench/engines/local_engine.py [--batch 128] [--rounds 3]

`mixed` is what a refresh sends: plain and principled answers, whose replies differ in length. `alike` are plain
answers alone. Both sides draw at temperature 0.7 and count the tokens up to the end-of-text token.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from pathlib import Path

from prompts import Library
from tasks.engines import Sampling, open_engine
from tasks.evaluate import held_out

NANO = Path(__file__).parents[2] / "nano"
LONGEST = 96  # new tokens


def prompts() -> dict[str, list[str]]:
    """The held-out prompts as raw texts, plain and under the rules."""
    library = Library("nano")
    rules, exemplars = library.rules()
    ruled = library.prompt("self_align/answer")
    asked = [row["prompt"] for row in held_out.load(NANO / "held_out.jsonl")]
    plain = [f"Human: {text}\nAssistant:" for text in asked]
    principled = [ruled.render(rules=rules, exemplars=exemplars, instruction=text) for text in asked]
    return {"alike": plain, "mixed": [text for pair in zip(plain, principled, strict=True) for text in map(str, pair)]}


def by_engine(texts: list[str], batch: int) -> float:
    """Tokens a second of our engine."""

    async def ask() -> float:
        spec = {"engine": "transformers", "model": str(NANO / "checkpoint"), "batch_size": batch, "threads": 1}
        async with open_engine(spec) as engine:
            begun = time.perf_counter()
            asked = (
                engine.generate(text, Sampling(temperature=0.7, max_tokens=LONGEST, seed=number))
                for number, text in enumerate(texts)
            )
            tokens = sum(completion.tokens_out for completion in await asyncio.gather(*asked))
            return tokens / (time.perf_counter() - begun)

    return asyncio.run(ask())


def by_generate(texts: list[str], batch: int) -> float:
    """Tokens a second of `model.generate`, batch by batch, prompts sorted by length."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(NANO / "checkpoint", padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(NANO / "checkpoint", dtype=torch.float32).eval()
    texts, tokens = sorted(texts, key=len), 0
    begun = time.perf_counter()
    with torch.inference_mode():
        for first in range(0, len(texts), batch):
            asked = tokenizer(texts[first : first + batch], return_tensors="pt", padding=True)
            completions = model.generate(
                input_ids=asked.input_ids, attention_mask=asked.attention_mask, max_new_tokens=LONGEST,
                do_sample=True, temperature=0.7, top_k=0, top_p=1.0, pad_token_id=tokenizer.pad_token_id,
            )[:, asked.input_ids.shape[1] :]  # fmt: skip
            tokens += int((completions != tokenizer.pad_token_id).sum())
    return tokens / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print("| prompts | engine, tok/s | generate, tok/s | ratio, median (range) |\n|---|---|---|---|")
    for name, texts in prompts().items():
        pairs = [(by_engine(texts, given.batch), by_generate(texts, given.batch)) for _ in range(given.rounds)]
        ratios = sorted(ours / theirs for ours, theirs in pairs)
        ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"
        print(f"| {name} ({len(texts)}) | {ours:.0f} | {theirs:.0f} | {spread} |")


if __name__ == "__main__":
    main()
