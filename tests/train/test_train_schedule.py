"""The step follows from the rows, the rate from what is trained, and a schedule that cannot train is refused."""

import math

import pytest
from train_cases import ALL

from alignery.config.preset import load
from tasks.methods.registry import built_in
from tasks.train.config import Lora, Source, TrainError
from tasks.train.recipes import dpo, engrave, sft
from tasks.train.schedule import resolve_steps, rows_a_step, steps, warm_up

RECIPES = built_in().recipes


def rates(config, count):
    """The learning rate of each step, as the trainer's own schedulers have it."""
    import torch
    from transformers import get_scheduler

    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=config.learning_rate)
    scheduler = get_scheduler(config.scheduler, optimizer, warm_up(config, count), count)
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("rows", [300, 700, 800, 3150, 20_000])
def test_the_preset_for_one_gpu_trains_on_few_rows_and_on_many(rows):
    for recipe, given in load("one-gpu").retrain.given().items():
        config, _ = resolve_steps(recipe, given, rows)
        count = steps(config, rows)
        assert count >= 100
        assert max(rates(config, count)) == pytest.approx(config.learning_rate, rel=0.02)


@pytest.mark.parametrize("rows", [700, 3150])
def test_engraving_few_rows_goes_about_the_papers_way(rows):
    """The way is the sum of the learning rates: about as far as Adam can move a weight."""
    paper = engrave.Config(batch_size=8, gradient_accumulation=96, warmup=100, learning_rate=4e-4)
    ours, _ = resolve_steps("engrave", load("one-gpu").retrain.given()["engrave"], rows)
    whole = sum(rates(paper, steps(paper, 258_878)))
    assert steps(paper, 258_878) == 338
    assert 0.7 * whole <= sum(rates(ours, steps(ours, rows))) <= 1.4 * whole
    assert sum(rates(paper, steps(paper, rows))) < 0.001 * whole


def test_many_rows_have_the_sources_step_and_nothing_is_said():
    config, notice = resolve_steps("engrave", engrave.Config(), 258_878)
    assert (config.batch_size * config.gradient_accumulation, notice) == (768, None)
    assert warm_up(config, steps(config, 258_878)) == pytest.approx(100, abs=2)


def test_fewer_rows_have_a_smaller_step_and_it_is_said():
    config, notice = resolve_steps("engrave", engrave.Config(), 3150)
    assert (config.batch_size, config.gradient_accumulation, steps(config, 3150)) == (8, 1, 394)
    assert notice == (
        "engrave: got 3150 rows, of which its source's 768 a step would make 5 steps: "
        "a step has 8 rows, which makes 394"
    )
    assert resolve_steps("engrave", engrave.Config(), 50)[0].batch_size == 1


def test_a_step_is_the_largest_power_of_two_that_leaves_enough_steps():
    for source in (Source(step, 1e-5, 1e-4, least) for step in (16, 32, 64, 768) for least in (100, 240)):
        for rows in (1, 50, 99, 100, 101, 1000, 6400, 100_000):
            for epochs in (0.5, 1, 3):
                step = rows_a_step(rows, epochs, source)
                enough = [2**power for power in range(10) if math.ceil(rows / 2**power) * epochs >= source.steps]
                smaller = max((one for one in enough if one <= source.step), default=1)
                whole = math.ceil(rows / source.step) * epochs >= source.steps
                assert step == (source.step if whole else smaller)


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_a_step_is_shared_evenly(processes):
    config, _ = resolve_steps("engrave", engrave.Config(), 3150, processes)
    assert config.gradient_accumulation % processes == 0
    assert 6 <= config.batch_size * config.gradient_accumulation <= 8
    assert steps(config, 3150, processes) >= 100


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_an_adapter_has_a_rate_of_its_own(case):
    kind = RECIPES[case.name].config
    whole, adapter = (resolve_steps(case.name, kind(lora=lora), 3150)[0].learning_rate for lora in (None, Lora()))
    assert adapter > 9.9 * whole > 0
    for lora in (None, Lora()):
        assert resolve_steps(case.name, kind(lora=lora, learning_rate=1e-5), 3150)[0].learning_rate == 1e-5


@pytest.mark.parametrize("rows", [3, 40, 700, 3150])
def test_what_is_given_is_taken_as_it_is(rows):
    """nano's settings, and any that name their batch: also after the way to another process."""
    for recipe, given in load("nano").retrain.given().items():
        again = type(given).model_validate(given.model_dump(mode="json"))
        assert resolve_steps(recipe, again, rows) == (given, None)


def refused(config, rows):
    with pytest.raises(TrainError) as caught:
        resolve_steps("engrave", config, rows)
    return str(caught.value)


def test_a_schedule_that_cannot_train_is_refused():
    warm = {"warmup": 100, "learning_rate": 4e-4}
    assert refused(engrave.Config(batch_size=768, gradient_accumulation=1, **warm), 3150) == (
        "engrave: warmup: got 100 steps of 5, so that learning_rate would get to 1.6e-05 of 0.0004, expected fewer "
        "than 5; give a share, as 0.1, or more rows or epochs"
    )
    assert refused(engrave.Config(batch_size=8, gradient_accumulation=96), 3150) == (
        "engrave: gradient_accumulation: got 96 passes of 8 rows, which make 5 steps of 3150 rows, expected 10 or "
        "more; leave it out, and the step follows from the rows"
    )
    assert "warmup: got 1 steps of 1" in refused(sft.Config(), 1)
    resolve_steps(
        "engrave", engrave.Config(batch_size=768, gradient_accumulation=1, **warm, scheduler="constant"), 3150
    )
    resolve_steps("dpo", dpo.Config(warmup=99), 3150)
