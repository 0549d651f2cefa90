"""Rollouts: a row for each answer that was drawn, in `rollouts/*.parquet` of the model's folder.

Columns: `step` (from 1), `prompt` (turns), `number` (of the prompt's answers, from 1), `completion`, `tokens`,
`complete` (it ended by itself), `reward`, `advantage`, `kl` (log-probability less that under the start model, in nats:
its mean over answers is the divergence), `start_logp` (under the start model, in nats; both at `temperature`) and
`seed` (the training's). A
part is written before the checkpoint it belongs to counts as whole, and a training that goes on takes out later parts:
the same answers are drawn again, and none is twice there. Where the watch stops a training its rollouts stay, in
`<model>.stopped`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignery import effects
from tasks.train.config import Row, TrainingFailed
from tasks.train.fine_tune import ROLLOUTS
from tasks.train.recipes.rl import curves, watch
from tasks.train.recipes.rl.settings import Config


def trainer_class() -> Any:
    """TRL's GRPO trainer with the rows of its answers in `rollouts`, and their figures in its log."""
    from accelerate.utils import gather_object
    from trl import GRPOTrainer

    class RecordingTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL is untyped here
        def __init__(self, rollouts: list[Row], **given: Any) -> None:
            self.rollouts = rollouts
            self.answer_rows: list[Row] = []  # of this process, of the batch that is at work
            super().__init__(**given)

        def _get_train_sampler(self, dataset: Any = None) -> Any:
            return _by_epoch(super()._get_train_sampler(dataset))

        def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Any:
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
            self.answer_rows = _answers(self, prompts, completions, completion_ids_list, rewards[:, 0].tolist())
            return rewards

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            batch = super()._generate_and_score_completions(inputs)
            mask, reference = batch["completion_mask"], batch["ref_per_token_logps"]
            kl = ((_log_probabilities(self, batch) - reference) * mask).sum(1).tolist()
            start, advantages = (reference * mask).sum(1).tolist(), batch["advantages"].tolist()
            for row, *rest in zip(self.answer_rows, kl, start, advantages, strict=True):
                row |= dict(zip(("kl", "start_logp", "advantage"), rest, strict=True))
            rows = gather_object(self.answer_rows)
            self.rollouts += rows
            for name, value in watch.figures(rows).items():
                self._metrics["train"][f"{ROLLOUTS}/{name}"].append(value)
            return batch

    return RecordingTrainer


def _by_epoch(plain: Any) -> Any:
    """TRL's sampler with another order in each epoch, known by its number: what goes on has that of a straight run."""
    from trl.trainer.utils import RepeatSampler

    class EpochSampler(RepeatSampler):  # type: ignore[misc]  # TRL is untyped here
        def set_epoch(self, epoch: int) -> None:
            self.generator.manual_seed(self.seed + epoch)

    return EpochSampler(
        plain.data_source, plain.mini_repeat_count, plain.batch_size, plain.repeat_count, seed=plain.seed
    )


def _answers(
    trainer: Any, prompts: Sequence[Any], completions: Sequence[Any], ids: Sequence[Any], rewards: Sequence[float]
) -> list[Row]:
    """The rows of this process's answers; `rewards` are those of all processes, which have as many each."""
    begin = trainer.accelerator.process_index * len(prompts)
    given = zip(prompts, completions, ids, rewards[begin : begin + len(prompts)], strict=True)
    return [
        {
            "step": trainer.state.global_step + 1,
            "prompt": prompt,
            "number": place % trainer.num_generations + 1,
            "completion": completion[0]["content"],
            "tokens": len(tokens),
            "complete": tokens[-1] in trainer.eos_token_ids,
            "reward": reward,
            "seed": trainer.args.seed,
        }
        for place, (prompt, completion, tokens, reward) in enumerate(given, begin)
    ]


def _log_probabilities(trainer: Any, batch: Any) -> Any:
    """Of the answers' tokens under the policy that drew them, without dropout; (B, T), in nats."""
    import torch

    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    model, answer_tokens = trainer.model, batch["completion_ids"].size(1)
    model.eval()
    with torch.no_grad():
        found, *_ = trainer._get_per_token_logps_and_entropies(
            model, ids, attention, answer_tokens, batch_size=trainer.args.per_device_train_batch_size
        )
    model.train()
    return found


def recorder(config: Config, out: Path) -> Any:
    """A trainer's callback that writes its `rows` with each checkpoint, and stops a training that leaves its bounds."""
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
        rows: list[Row] = []  # noqa: RUF012  # of the steps since the last checkpoint

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                for part in _folder(args).glob("until-*.parquet"):
                    if int(part.stem.rpartition("-")[2]) > state.global_step:
                        with effects.WORK_CLEAR:
                            part.unlink()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
            why = watch.exceeded(config.stop_when, steps(state.log_history)) if "loss" in logs else None
            if why is None:
                return
            stopped = out.with_name(f"{out.name}.stopped")
            if state.is_world_process_zero:
                self.write(args, state)
                _set_aside(_folder(args), stopped)
            raise TrainingFailed(
                f"grpo: stopped at step {state.global_step} of {state.max_steps}: {why}; its answers are in {stopped}: "
                "look at the last ones; raise beta, fix the reward, or, if they are as they should be, raise the bound"
            )

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                self.write(args, state)
            self.rows.clear()  # every process has those of all

        on_train_end = on_save

        def write(self, args: Any, state: Any) -> None:
            """The rows since the last part, and the picture of all steps."""
            folder = _folder(args)
            picture = curves.panels("grpo", {name: {"": points} for name, points in _series(state.log_history).items()})
            with effects.MODEL_WRITE:
                folder.mkdir(exist_ok=True)
                if self.rows:
                    _write(folder / f"until-{state.global_step:06d}.parquet", self.rows)
                (folder / "curves.svg").write_text(picture, encoding="utf-8")

    callback = Recorder()
    callback.rows = []
    return callback


def steps(history: Sequence[Row]) -> list[Row]:
    """The figures of each step, from a trainer's log."""
    names = {name: f"{ROLLOUTS}/{name}" for name in watch.FIGURES}
    return [{name: entry[key] for name, key in names.items()} for entry in history if names["reward"] in entry]


def _series(history: Sequence[Row]) -> dict[str, list[tuple[float, float]]]:
    found = steps(history)
    return {name: [(step, figures[name]) for step, figures in enumerate(found, 1)] for name in watch.FIGURES}


def _folder(args: Any) -> Path:
    return Path(args.output_dir).parent / ROLLOUTS


def _write(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def _set_aside(rollouts: Path, stopped: Path) -> None:
    """Keep the rollouts of a training that is stopped; those of the same training before make way."""
    with effects.WORK_CLEAR:
        shutil.rmtree(stopped, ignore_errors=True)
    with effects.MODEL_RENAME:
        rollouts.rename(stopped)
