"""What is exported goes into TRL's own trainers as it is."""

import shutil
from pathlib import Path

import pytest

from warehouse import Lake
from warehouse.export.export import export
from warehouse.query.snapshots import release_of

NANO = Path(__file__).parents[2] / "nano/checkpoint"


@pytest.fixture(scope="module")
def home(empty, tmp_path_factory):
    """A lake in which 60 first answers were revised."""
    from datetime import UTC, datetime

    def row(id, **fields):
        return {"id": id, "parents": [], "work_key": id, "created_at": datetime(2026, 1, 1, tzinfo=UTC)} | fields

    asked = {"topic": "t", "origin": "seed", "state": "accepted"}
    rule = {"round": 1, "critique_id": "c", "principle_id": "p", "principle_hash": "h", "changed": True}
    records = {"instructions": [], "responses": [], "revisions": []}
    for n in range(60):
        of = {"instruction_id": f"i{n}"}
        first = {"response_id": f"b{n}", "target_id": f"b{n}"}
        records["instructions"].append(row(f"i{n}", text=f"Where do owls live, case {n}?", **asked))
        records["responses"].append(row(f"b{n}", text="In the sea.", kind="base", **of))
        records["revisions"].append(row(f"v{n}", text="In a tree.", **first, **of, **rule))
    home = shutil.copytree(empty, tmp_path_factory.mktemp("trains") / "home")
    with Lake.open(home) as lake:
        lake.ledger.append(records, [], run_id="run", step="test.step", fingerprint="f")
    return home


def exported(home, shape, folder):
    import datasets

    with Lake.open(home, read_only=True) as lake:
        release = release_of(lake, str(lake.snapshot()))
    with Lake.open(home, snapshot=release.snapshot_id) as pinned:
        done = export(pinned, [shape], folder / "export", release=release, licences={}, held_out=0.3)
    return datasets.load_dataset(str(done.path), cache_dir=str(folder / "cache"))


@pytest.mark.flow
@pytest.mark.parametrize("shape", ["sft", "preferences"])
def test_trl_takes_a_step_on_both_splits(home, tmp_path, shape):
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    trainer_of, config_of = {"sft": (SFTTrainer, SFTConfig), "preferences": (DPOTrainer, DPOConfig)}[shape]
    splits = exported(home, shape, tmp_path)
    assert splits["train"].num_rows > 4
    assert splits["test"].num_rows > 1
    plain = {"report_to": "none", "use_cpu": True, "save_strategy": "no", "max_length": 128, "bf16": False}
    trainer = trainer_of(
        model=AutoModelForCausalLM.from_pretrained(NANO),
        args=config_of(str(tmp_path / "out"), max_steps=1, per_device_train_batch_size=4, **plain),
        train_dataset=splits["train"],
        eval_dataset=splits["test"],
        processing_class=AutoTokenizer.from_pretrained(NANO),
    )
    assert 0 < trainer.train().training_loss < 20
    assert 0 < trainer.evaluate()["eval_loss"] < 20
