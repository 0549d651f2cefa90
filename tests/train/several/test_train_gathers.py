"""Weights that FSDP split over processes are whole again before they are saved: PyTorch's FSDP2, on the CPU."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.mark.flow
def test_the_main_process_gathers_what_two_processes_have_split(base):
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__, base]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["LlamaForCausalLM", "PeftModelForSequenceClassification"]


def _gather(base: Path, lora: bool, scores: bool) -> None:
    """Change a model, split it, and compare what is gathered with what was split."""
    import torch
    from accelerate import Accelerator
    from peft import get_peft_model
    from torch import distributed
    from torch.distributed.fsdp import fully_shard

    from tasks.train.config import Lora
    from tasks.train.model import adapter, gathered, load
    from tasks.train.recipes.reward import Config

    config = Config(lora=Lora(r=4) if lora else None)
    model, _ = load(base, config, scores)
    if lora:
        torch.manual_seed(0)  # both processes draw one adapter
        model = get_peft_model(model, adapter(model, config.lora, scores))
    for weight in model.parameters():
        weight.data += 0.01 * weight.requires_grad
    whole = {name: weight.clone() for name, weight in model.state_dict().items()}
    for layer in model.get_decoder().layers:
        fully_shard(layer)
    fully_shard(model)
    accelerator = SimpleNamespace(distributed_type="FSDP", is_fsdp2=True, unwrap_model=lambda model: model)
    accelerator.get_state_dict = lambda model: Accelerator.get_state_dict(accelerator, model)  # type: ignore[arg-type]
    trainer = SimpleNamespace(accelerator=accelerator, model=model, model_wrapped=model)
    is_main = distributed.get_rank() == 0
    found = gathered(trainer, base, config, is_main, scores)
    if is_main:
        weights = found.state_dict()
        assert weights.keys() == whole.keys()
        assert all(torch.equal(weights[name], whole[name]) for name in whole)
        print(type(found).__name__)
    distributed.barrier()


if __name__ == "__main__":
    from torch import distributed

    distributed.init_process_group("gloo")
    _gather(Path(sys.argv[1]), lora=False, scores=False)
    _gather(Path(sys.argv[1]), lora=True, scores=True)
    distributed.destroy_process_group()
