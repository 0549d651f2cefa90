"""A verifier as an engine: the reply to a conversation is a number, the share of constraints that the last turn meets.

They are checked by `tasks.evaluate.suites.constraints`, strictly (IFEval, arXiv 2311.07911).
"""

from __future__ import annotations

from collections.abc import Sequence

from prompts import Message
from tasks.engines.protocol import Completion, RequestRefused, Sampling
from tasks.engines.specs import VerifierSpec
from tasks.evaluate.suites.constraints import strict


class VerifierEngine:
    def __init__(self, spec: VerifierSpec) -> None:
        self.identity = spec.identity()
        self._constraints = spec.constraints

    async def generate(self, prompt: str | list[Message], sampling: Sampling) -> Completion:
        """The share, 0 to 1, with six decimals; `sampling` is ignored.

        Raises:
            RequestRefused: the prompt is not a conversation whose last turn is the assistant's.
        """
        if isinstance(prompt, str) or prompt[-1]["role"] != "assistant":
            raise RequestRefused(
                "a verifier scores a conversation that ends with the assistant's answer, and got another prompt; bind "
                "the alias to a language model"
            )
        kept = [strict(one, prompt[-1]["content"]) for one in self._constraints]
        return Completion(f"{sum(kept) / len(kept):.6f}", "stop", 0, 0, 0.0)

    async def choose(self, prompt: str | list[Message], options: Sequence[str]) -> list[float]:
        raise RequestRefused("a verifier scores answers and chooses none; bind the alias to a language model")
