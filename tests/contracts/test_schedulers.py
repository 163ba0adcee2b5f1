"""Contract tests of all registered schedulers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.optimization import get_scheduler

from lorapipe.spec import Warmup
from lorapipe.training.schedulers import Scheduler
from lorapipe.training.schedulers.cosine import Cosine
from lorapipe.training.schedulers.rex import Rex
from lorapipe.training.schedulers.warmup_stable_decay import WarmupStableDecay

NAMES = Scheduler.registry.names()
WARMUPS = [Warmup(0), Warmup(7), Warmup(2, "epochs"), Warmup(10, "%"), Warmup(5000)]


def factors(scheduler: Scheduler, total: int, per_epoch: float = 10) -> list[float]:
    return [scheduler.factor(step, total, per_epoch) for step in range(total)]


@pytest.mark.parametrize("total", [1, 2, 1000])
@pytest.mark.parametrize("name", NAMES)
def test_factors_are_between_0_and_1_and_reach_1(name: str, total: int) -> None:
    kind = Scheduler.registry.get(name)
    for scheduler in [kind(), *(kind(warmup=warmup) for warmup in WARMUPS)]:
        found = factors(scheduler, total)
        assert all(0 <= factor <= 1 for factor in found) and found[0] > 0
        assert max(found) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_factor_depends_on_the_step_alone(name: str) -> None:
    """Factors do not depend on the order of calls, as resuming requires."""
    kind = Scheduler.registry.get(name)
    forward = factors(kind(), 50)
    scheduler = kind()
    assert [scheduler.factor(step, 50, 10) for step in reversed(range(50))] == forward[::-1]


@pytest.mark.parametrize("name", NAMES)
def test_a_warm_up_rises_evenly_and_then_goes_on_as_without(name: str) -> None:
    kind = Scheduler.registry.get(name)
    found = factors(kind(warmup=Warmup(25, "%")), 100)
    assert found[:25] == pytest.approx([(step + 1) / 26 for step in range(25)])
    assert found[25:] == pytest.approx(factors(kind(warmup=Warmup(0)), 75))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("constant", {"name": "constant"}),
        ("linear", {"name": "linear"}),
        ("cosine", {"name": "cosine"}),
        ("cosine_with_restarts", {"name": "cosine_with_restarts", "num_cycles": 3}),
        ("polynomial", {"name": "polynomial", "power": 2.0}),
    ],
)
def test_the_usual_ones_are_those_of_diffusers(ours: str, theirs: dict) -> None:
    """Return the rates of diffusers' schedulers, an independent implementation, which sd-scripts uses too."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_scheduler(**theirs, optimizer=optimizer, num_warmup_steps=0, num_training_steps=97)
    expected = []
    for _ in range(97):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert factors(Scheduler.registry.get(ours)(), 97) == pytest.approx(expected, abs=2e-7)


def test_rex_is_the_papers() -> None:
    """Table 1 of arXiv:2107.04197 at a quarter, half and three quarters of the way."""
    assert [Rex().after(done) for done in (0.25, 0.5, 0.75)] == pytest.approx([6 / 7, 2 / 3, 2 / 5])


def test_stable_is_stable_and_then_falls() -> None:
    found = factors(WarmupStableDecay(warmup=Warmup(0), decay=0.25), 100)
    assert found[:76] == [1.0] * 76
    assert found[76:] == sorted(found[76:], reverse=True) and found[-1] < 0.05
    assert found[81] == pytest.approx(1 - (6 / 25) ** 0.5)


def test_an_end_is_where_the_rate_ends() -> None:
    assert Cosine(end=0.1).after(0) == 1
    assert Cosine(end=0.1).after(0.5) == pytest.approx(0.55)
    assert factors(Cosine(end=0.1), 1000)[-1] == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (0, 0),
        (100, 100),
        ("100 steps", 100),
        ("1 step", 1),
        ("2 epochs", 50),
        ("0.5 epoch", 12),
        ("10 %", 100),
        (0.1, 100),
    ],
)
def test_a_warm_up_in_every_unit(text: object, steps: int) -> None:
    warmup = Warmup.parse(text, Path())
    assert warmup.steps(1000, 25) == steps
    assert Warmup.parse(warmup.plain(), Path()) == warmup


@pytest.mark.parametrize("text", [True, -1, 1.5, "100 %", "ten", "1.5 steps", "5 hours", None])
def test_what_is_no_warm_up_is_refused(text: object) -> None:
    with pytest.raises(ValueError):
        Warmup.parse(text, Path())
