"""Schedules against PyTorch's, where it has them, else against their formula written out."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch.optim import lr_scheduler

from lm.config.run import ScheduleName, TrainingConfig
from lm.errors import StudyError
from lm.training.schedules import Schedule, build_schedule

STEPS = 40


def schedule(name: ScheduleName = "constant", warmup: float = 0.0, steps: int = STEPS) -> Schedule:
    return build_schedule(
        TrainingConfig(batch=1, epochs=1, train_sample=1, schedule=name, warmup=warmup), total_steps=steps
    )


def factors(made: Schedule, steps: int = STEPS) -> list[float]:
    return [made.factor(step) for step in range(steps)]


def of_pytorch(make, steps: int = STEPS) -> list[float]:
    """The rates that a scheduler of PyTorch gives an optimizer whose rate is 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_the_default_multiplies_by_exactly_one():
    assert factors(schedule()) == [1.0] * STEPS
    assert all(0.001 * factor == 0.001 for factor in factors(schedule()))


@pytest.mark.parametrize("name", ["constant", "plateau"])
def test_warm_up_is_pytorchs_linear_one(name):
    expected = of_pytorch(lambda o: lr_scheduler.LinearLR(o, start_factor=1 / 8, end_factor=1.0, total_iters=7))
    assert factors(schedule(name, 0.2)) == pytest.approx(expected)
    assert factors(schedule(name, 0.2))[7:] == [1.0] * (STEPS - 7)


def test_cosine_is_pytorchs():
    expected = of_pytorch(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=STEPS))
    assert factors(schedule("cosine")) == pytest.approx(expected, abs=1e-9)


def test_cosine_begins_where_the_warm_up_ends():
    def both(optimizer):
        warm = lr_scheduler.LinearLR(optimizer, start_factor=1 / 10, end_factor=1.0, total_iters=9)
        return lr_scheduler.SequentialLR(
            optimizer, [warm, lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)], milestones=[10]
        )

    assert factors(schedule("cosine", 0.25)) == pytest.approx(of_pytorch(both), abs=1e-9)


def test_wsd_is_flat_until_the_last_fifth_and_ends_a_step_above_zero():
    expected = [(step + 1) / 4 for step in range(4)] + [1.0] * 28 + [(40 - step) / 8 for step in range(32, 40)]
    assert factors(schedule("wsd", 0.1)) == pytest.approx(expected)


def test_plateau_is_pytorchs_reduction():
    losses = [5.0, 4.0, 4.0, 4.5, 3.9, 3.9, math.inf, 3.0, math.nan, 2.9, 3.0]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.0)
    ours = schedule("plateau")
    for loss in losses:
        theirs.step(loss)
        ours.epoch_ended(loss)
        assert ours.factor(20) == optimizer.param_groups[0]["lr"]
    assert ours.factor(20) == 0.5**6


@pytest.mark.parametrize("name", ["constant", "cosine", "wsd"])
def test_no_other_schedule_looks_at_the_validation_loss(name):
    made = schedule(name)
    before = factors(made)
    for _ in range(3):
        made.epoch_ended(7.0)
    assert factors(made) == before


def test_a_schedule_goes_on_from_its_state():
    made, resumed = schedule("plateau", 0.1), schedule("plateau", 0.1)
    for loss in (3.0, 4.0, 2.0, 2.5):
        made.epoch_ended(loss)
    resumed.load_state_dict(json.loads(json.dumps(made.state_dict())))
    for loss in (2.2, 1.9, 2.0):
        made.epoch_ended(loss), resumed.epoch_ended(loss)
        assert factors(resumed) == factors(made)


def test_a_plateau_halves_the_steps_of_a_warm_up_too():
    made, whole = schedule("plateau", 0.5), factors(schedule("plateau", 0.5))
    for loss in (3.0, 4.0):
        made.epoch_ended(loss)
    assert factors(made) == [factor / 2 for factor in whole]


def test_all_steps_may_be_warm_up():
    assert factors(schedule("cosine", 1.0)) == pytest.approx([(step + 1) / STEPS for step in range(STEPS)])


def test_a_share_is_not_a_step_short_for_being_binary():
    assert factors(schedule(warmup=0.29, steps=100), 100).count(1.0) == 100 - 28


def test_a_warm_up_of_less_than_a_step_is_refused():
    with pytest.raises(StudyError, match=r"warmup: 0.02 of 40 steps is less than one step.* at least 0.025"):
        schedule(warmup=0.02)
    assert factors(schedule(warmup=0.025)) == [1.0] * STEPS


@pytest.mark.parametrize("steps", [3, 7, 12, 480, 10_164])
def test_the_warm_up_that_a_refusal_recommends_is_allowed(steps):
    with pytest.raises(StudyError) as refused:
        schedule(warmup=0.5 / steps, steps=steps)
    schedule(warmup=float(str(refused.value).rpartition(" ")[2]), steps=steps)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("name", ["constant", "cosine", "wsd", "plateau"])
def test_short_runs(name, steps):
    found = factors(schedule(name, steps=steps), steps)
    assert found[0] == 1.0
    assert all(0.0 < factor <= 1.0 for factor in found)
