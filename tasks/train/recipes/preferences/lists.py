"""The trainer of all recipes that learn from several answers to a prompt by a loss of their log-probabilities.

A row is a prompt with its answers, two or more, and a score each. Conversations are rendered as TRL renders them. An
answer that is, within max_length, the same tokens as a better one is taken out; a prompt with fewer than two is too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.train.config import Row

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Answers:
    """What a loss sees of one prompt's answers, (K,) each.

    Args:
        sums: log-probabilities, in nats.
        tokens: counted with the end token.
        scores: as the rows have them.
        reference: `sums` of the model that the training started from; zeros where none was asked for.
    """

    sums: Tensor
    tokens: Tensor
    scores: Tensor
    reference: Tensor

    @property
    def mean(self) -> Tensor:
        """Log-probabilities divided by their answer's tokens."""
        return self.sums / self.tokens


Loss = Callable[[Answers], "Tensor"]  # of one prompt; a batch has the mean over its prompts


def pairs(rows: Sequence[Row]) -> list[Row]:
    """Pairs as lists of two; `p`, where they have it, is the score of the chosen one, and 1 − p the other's."""
    return [
        {"prompt": row["prompt"], "responses": [row["chosen"], row["rejected"]]}
        | {"scores": [row.get("p", 1.0), 1 - row.get("p", 1.0)]}
        for row in rows
    ]


def trainer(loss: Loss, shared: dict[str, Any], arguments: dict[str, Any], reference: bool = False) -> Any:
    """A `transformers.Trainer` on rows {prompt, responses, scores}.

    Args:
        reference: whether the loss reads the reference's log-probabilities; computed once, before the training.
    """
    from datasets import Dataset
    from transformers import TrainingArguments, set_seed

    given, plain = dict(shared), dict(arguments)
    limit, tokenizer, adapter = plain.pop("max_length"), given["processing_class"], given.pop("peft_config")
    prepared = [_prepared(row, tokenizer, limit) for row in given.pop("train_dataset")]
    rows = [row for row in prepared if row and len(row["answer_ids"]) > 1]
    if adapter:
        from peft import get_peft_model

        set_seed(plain["seed"])  # the adapter begins with random weights, in a run that goes on as in a straight one
        given["model"] = get_peft_model(given["model"], adapter)
    list_trainer = _class()(
        args=TrainingArguments(remove_unused_columns=False, **plain),
        train_dataset=Dataset.from_list(rows) if rows else Dataset.from_dict({"prompt_ids": [], "answer_ids": []}),
        data_collator=collator(tokenizer.pad_token_id),
        **given,
    )
    list_trainer.list_loss = loss
    list_trainer.identical = sum(row is not None for row in prepared) - len(rows)
    if reference and rows:
        list_trainer.train_dataset = list_trainer.train_dataset.add_column("reference", list_trainer.reference())
    return list_trainer


def length(row: Row) -> int:
    """Tokens of a prepared row, with the longest of its answers."""
    return len(row["prompt_ids"]) + max(map(len, row["answer_ids"]))


def _prepared(row: Row, tokenizer: Any, limit: int) -> Row | None:
    """Tokens of the prompt and of each distinct answer, cut at `limit`; None where the prompt alone fills it."""
    prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
    if len(prompt) >= limit:
        return None
    answers: dict[tuple[int, ...], float] = {}
    for response, score in sorted(zip(row["responses"], row["scores"], strict=True), key=lambda one: -one[1]):
        whole = tokenizer.apply_chat_template(row["prompt"] + response, return_dict=True)["input_ids"]
        answers.setdefault(tuple(whole[len(prompt) : limit]), score)
    return {"prompt_ids": prompt, "answer_ids": list(map(list, answers)), "scores": list(answers.values())}


def collator(pad: int) -> Callable[[Sequence[Row]], dict[str, Any]]:
    """Rows → input_ids, attention_mask and completion_mask (N, T), N answers of all prompts one below another; scores
    and reference (N,); and sizes (B,), how many answers each prompt has."""

    def collate(rows: Sequence[Row]) -> dict[str, Any]:
        import torch
        from torch.nn.utils.rnn import pad_sequence

        sequences = [(row["prompt_ids"], answer) for row in rows for answer in row["answer_ids"]]
        ids = [torch.tensor([*prompt, *answer]) for prompt, answer in sequences]
        learnt = [torch.tensor([0] * len(prompt) + [1] * len(answer)) for prompt, answer in sequences]
        scores = [score for row in rows for score in row["scores"]]
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=pad),
            "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
            "completion_mask": pad_sequence(learnt, batch_first=True),
            "scores": torch.tensor(scores, dtype=torch.float32),
            "reference": torch.tensor([n for row in rows for n in row.get("reference", [0.0] * len(row["scores"]))]),
            "sizes": torch.tensor([len(row["scores"]) for row in rows]),
        }

    return collate


def log_probabilities(model: Any, inputs: dict[str, Any]) -> tuple[Any, Any]:
    """Of each answer: the sum of its tokens' log-probabilities, in nats, and their count; (N,) each."""
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, :-1].float()
    mask = inputs["completion_mask"][:, 1:]
    log_probs = logits.log_softmax(-1).gather(2, inputs["input_ids"][:, 1:, None]).squeeze(-1)
    return (log_probs * mask).sum(1), mask.sum(1)


def _class() -> Any:
    from transformers import Trainer

    class ListTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped here
        list_loss: Loss
        identical = 0
        read = 0  # tokens, since this process began

        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            self.model_accepts_loss_kwargs = False  # the loss is a mean: accumulated passes are divided by their number

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **others: Any) -> Any:
            sums, tokens = log_probabilities(model, inputs)
            sizes = inputs["sizes"].tolist()
            each = [one.split(sizes) for one in (sums, tokens, inputs["scores"], inputs["reference"])]
            losses = [self.list_loss(Answers(*prompt)) for prompt in zip(*each, strict=True)]
            count = self.accelerator.gather_for_metrics(inputs["attention_mask"].sum())
            self.read += int(count.sum())
            loss = sum(losses) / len(losses)
            return (loss, {}) if return_outputs else loss

        def log(self, logs: dict[str, float], *others: Any, **more: Any) -> None:
            super().log(logs | ({"num_tokens": self.read} if "loss" in logs else {}), *others, **more)

        def reference(self) -> list[list[float]]:
            """Of each row, what the model says of its answers before it is trained."""
            import torch

            device, found = self.args.device, []
            model = self.model.to(device).eval()
            with torch.no_grad(), self.compute_loss_context_manager():
                for row in self.train_dataset:
                    inputs = {name: value.to(device) for name, value in self.data_collator([row]).items()}
                    found.append(log_probabilities(model, inputs)[0].tolist())
            return found

    return ListTrainer
