"""`kill -9` in mid-training: the same command goes on from a checkpoint, to the very weights of a straight run."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from train_cases import CASES, TWICE
from train_views import PAIRS, conversation, write_view

from tasks.methods.registry import built_in
from tasks.train.config import Lora, TrainError
from tasks.train.launch import command

pytestmark = pytest.mark.flow


def arguments(case, views, base, out, config):
    given = [case.name, "--data", views[case.name], "--model", base, "--out", out, "--config", config.model_dump_json()]
    return [sys.executable, "-m", "tasks.train", *map(str, given)]


def killed(line, partial, blow=signal.SIGKILL, checkpoints=1):
    """Run the command, and strike as soon as so many checkpoints are whole."""
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        while len(list(partial.glob("checkpoints/checkpoint-*/whole"))) < checkpoints and process.poll() is None:
            time.sleep(0.002)
        assert process.poll() is None, "it finished before it could be killed: make the training longer"
        os.killpg(process.pid, blow)
        process.wait(timeout=60)
    assert process.returncode == -blow


def same(one, other):
    import torch
    from safetensors.torch import load_file

    mine, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert mine.keys() == theirs.keys()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


def history(folder):
    return json.loads((folder / "history.json").read_text())


# One recipe of each trainer: the others train on other rows, or by another loss. An adapter is kept and read alike by
# all of them; those of pairs ask the model without it as well. Each kill takes half a minute: some are marked long.
FIRST, FURTHER = ("engrave",), ("dpo", "aligner", "kto", "reward", "rrhf")
ADAPTED = Lora(r=4, dropout=0.1)


@pytest.mark.parametrize(
    ("name", "lora"),
    [
        *((name, None) for name in FIRST),
        *(pytest.param(name, None, marks=pytest.mark.long) for name in FURTHER),
        pytest.param("engrave", ADAPTED, marks=pytest.mark.long),
        ("dpo", ADAPTED),
    ],
    ids=[*FIRST, *FURTHER, "engrave-lora", "dpo-lora"],
)
def test_a_killed_run_goes_on_to_the_weights_of_a_straight_one(name, lora, views, words, base, tmp_path, capsys):
    case = CASES[name]
    config = case.config(words, epochs=20.0 if case.name in TWICE else 40.0, lora=lora)
    killed(arguments(case, views, base, tmp_path / "out", config), tmp_path / ".out.partial")
    assert not (tmp_path / "out").exists()
    report = case.train(views, base, tmp_path / "out", config)
    assert 0 < report.resumed_at < 160
    assert f"{case.name} goes on after step {report.resumed_at}/160\n" in capsys.readouterr().out
    straight = case.train(views, base, tmp_path / "straight", config)
    assert straight.resumed_at == 0
    assert same(tmp_path / "out", tmp_path / "straight")
    assert history(tmp_path / "out") == history(tmp_path / "straight")
    assert (report.steps, report.tokens) == (straight.steps, straight.tokens) == (160, straight.tokens)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "straight"]


def test_an_aligner_killed_in_its_warm_up_goes_on_from_there(views, words, base, tmp_path, capsys):
    case = CASES["aligner"]
    config = case.config(words, epochs=60.0)
    killed(arguments(case, views, base, tmp_path / "out", config), tmp_path / "..out.warm-up.partial")
    case.train(views, base, tmp_path / "out", config)
    assert "aligner warm-up goes on after step" in capsys.readouterr().out
    case.train(views, base, tmp_path / "straight", config)
    assert same(tmp_path / "out", tmp_path / "straight")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "straight"]


def test_sigterm_leaves_what_a_kill_leaves(views, words, base, tmp_path):
    case = CASES["engrave"]
    config = case.config(words, epochs=40.0)
    killed(arguments(case, views, base, tmp_path / "out", config), tmp_path / ".out.partial", signal.SIGTERM)
    assert case.train(views, base, tmp_path / "out", config).resumed_at > 0


def test_another_job_does_not_go_on_from_it(views, words, base, tmp_path):
    case = CASES["engrave"]
    config = case.config(words, epochs=40.0)
    line = arguments(case, views, base, tmp_path / "out", config)
    fewer = {case.name: write_view(tmp_path / "fewer", [conversation(pair) for pair in PAIRS[:16]])}
    for other, view in ((case.config(words, epochs=2.0, seed=7), views), (config, fewer)):
        killed(line, tmp_path / ".out.partial")
        assert case.train(view, base, tmp_path / "out", other).resumed_at == 0
        (tmp_path / "out").rename(tmp_path / f"done-{len(list(tmp_path.iterdir()))}")


def test_a_checkpoint_that_was_not_written_to_its_end_is_not_taken(views, words, base, tmp_path):
    case = CASES["engrave"]
    config = case.config(words, epochs=40.0)
    partial = tmp_path / ".out.partial"
    killed(arguments(case, views, base, tmp_path / "out", config), partial, checkpoints=2)
    *_, last = sorted(partial.glob("checkpoints/*/whole"), key=lambda mark: int(mark.parent.name.split("-")[1]))
    last.unlink()
    (last.parent / "optimizer.pt").write_bytes(b"half")
    report = case.train(views, base, tmp_path / "out", config)
    assert 0 < report.resumed_at < int(last.parent.name.split("-")[1])


def test_two_processes_make_the_weights_of_one(views, words, base, tmp_path):
    case = CASES["engrave"]
    shared = {"gradient_accumulation": 2, "epochs": 6.0}
    config = case.config(words, processes=2, **shared)
    done = subprocess.run(
        arguments(case, views, base, tmp_path / "two", config), capture_output=True, text=True, check=True
    )
    steps = [line.split(" loss ")[0] for line in done.stdout.splitlines()][:-1]
    assert (steps[0], steps[-1]) == ("engrave step 1/12", "engrave step 12/12")
    assert len({*steps}) == len(steps), "one process of the two speaks"
    report = json.loads((tmp_path / "two" / "report.json").read_text())
    assert (report["processes"], report["steps"], report["rows"]) == (2, 12, 32)
    case.train(views, base, tmp_path / "one", case.config(words, **shared))
    import torch
    from safetensors.torch import load_file

    two, one = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "one"))
    assert all(torch.allclose(two[name], one[name], atol=1e-6) for name in one)


@pytest.mark.long
def test_two_processes_killed_go_on_to_the_same(views, words, base, tmp_path):
    case = CASES["engrave"]
    config = case.config(words, processes=2, gradient_accumulation=2, epochs=60.0)
    line = arguments(case, views, base, tmp_path / "out", config)
    killed(line, tmp_path / ".out.partial")
    for name in ("out", "straight"):
        subprocess.run([word.replace("/out", f"/{name}") for word in line], check=True, capture_output=True)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["resumed_at"] > 0
    assert same(tmp_path / "out", tmp_path / "straight")


def test_a_folder_that_another_process_works_in_is_left_to_it(views, words, base, tmp_path):
    case = CASES["engrave"]
    config = case.config(words, epochs=2000.0)
    with subprocess.Popen(
        arguments(case, views, base, tmp_path / "out", config), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().startswith("engrave step 1/")
        with pytest.raises(TrainError, match=r"another process is at work in .*\.out\.partial"):
            case.train(views, base, tmp_path / "out", config)
        assert process.poll() is None
        assert (tmp_path / ".out.partial" / "job.json").is_file()
        process.kill()


def test_a_training_ends_with_the_process_that_started_it(views, words, base, tmp_path):
    case = CASES["engrave"]
    line = [*arguments(case, views, base, tmp_path / "out", case.config(words, epochs=2000.0)), "--with-parent"]
    code = f"import subprocess; subprocess.run({line!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline().startswith("engrave step 1/")
        parent.kill()
        parent.stdout.read()  # to its end: nobody holds it any more
    assert case.train(views, base, tmp_path / "out", case.config(words)).resumed_at == 0


def test_passes_that_cannot_be_shared_evenly_are_refused(views, words, base, tmp_path):
    case = CASES["engrave"]
    config = case.config(words, processes=2, gradient_accumulation=3, epochs=8.0)
    line = arguments(case, views, base, tmp_path / "out", config)
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "gradient_accumulation: got 3, expected a multiple of the 2 processes" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_for_several_gpus():
    line = command(4, ["dpo", "--data", "d"])
    assert line[:4] == [sys.executable, "-P", "-m", "accelerate.commands.launch"]
    assert line[line.index("--num_processes") + 1] == "4"
    assert "--multi_gpu" in line
    assert line[-5:] == ["-m", "tasks.train", "dpo", "--data", "d"]
    assert set(CASES) == set(built_in().recipes) - {"sft", "grpo", "salmon", "inspector"}
