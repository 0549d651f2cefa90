"""nano says the same, greedily and in fp32, in transformers and in the real vLLM."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench/engines/nano_parity.py"


@pytest.mark.engine
def test_greedy_tokens_are_the_same_in_vllm() -> None:
    done = subprocess.run([sys.executable, str(BENCH), "--each", "6"], capture_output=True, text=True, check=False)
    report = json.loads(done.stdout.strip().splitlines()[-1])
    assert report["prompts"] >= 100
    assert report["identical"] == report["prompts"], report["first_difference"]
