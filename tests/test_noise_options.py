"""Noise offset, multires noise and input perturbation, by the formulas of their papers."""

from __future__ import annotations

import pytest
import torch

from lorapipe.training import noise
from lorapipe.training.diffusion import EpsilonPrediction
from lorapipe.training.noise_options import NoiseOptions

SHAPE = (4, 32, 24)
PROCESS = EpsilonPrediction(torch.linspace(0.999, 0.005, 1000))
KINDS = {
    "plain": NoiseOptions(),
    "offset": NoiseOptions(offset=0.1),
    "offset_random": NoiseOptions(offset=0.1, offset_random=True),
    "offset_adaptive": NoiseOptions(offset=0.1, offset_adaptive=0.1),
    "multires": NoiseOptions(multires_iterations=8, multires_discount=0.3),
    "perturbation": NoiseOptions(perturbation=0.1),
    "all": NoiseOptions(multires_iterations=6, perturbation=0.1, perturbation_random=True, min_timestep=100),
}


def many(corruption: NoiseOptions, count: int = 400) -> noise.NoiseDraw:
    return corruption.draw(3, 0, range(count), torch.zeros(count, *SHAPE), PROCESS)


@pytest.mark.parametrize("kind", KINDS)
def test_it_depends_on_seed_step_and_sample_alone(kind: str) -> None:
    draw = KINDS[kind].draw
    whole = draw(7, 3, range(4), torch.ones(4, *SHAPE), PROCESS)
    halves = [draw(7, 3, part, torch.ones(2, *SHAPE), PROCESS) for part in (range(2), range(2, 4))]
    for mine, *theirs in zip(whole, *halves, strict=True):
        assert torch.equal(mine, torch.cat(theirs))
    assert not torch.equal(whole.added, draw(7, 4, range(4), torch.ones(4, *SHAPE), PROCESS).added)


@pytest.mark.parametrize("kind", KINDS)
def test_the_noise_of_a_sample_begins_with_the_same_numbers(kind: str) -> None:
    """Noise options transform the same base noise, so that runs are comparable."""
    plain, coloured = many(KINDS["plain"], 8), many(KINDS[kind], 8)
    together = torch.stack([plain.target.flatten(), coloured.target.flatten()])
    assert float(torch.corrcoef(together)[0, 1]) > 0.6


def test_plain_noise_is_added_as_it_is_predicted() -> None:
    drawn = many(KINDS["plain"], 4)
    assert drawn.added is drawn.target
    assert torch.equal(drawn.target, noise.draw(3, 0, range(4), SHAPE, PROCESS).target)


def test_offset_shifts_whole_channels_by_its_strength() -> None:
    shift = many(KINDS["offset"]).target - many(KINDS["plain"]).target
    means = shift.mean((2, 3))
    assert float((shift - means[..., None, None]).abs().max()) < 1e-5
    assert float(means.std()) == pytest.approx(0.1, rel=0.1)  # 1,600 draws
    random = (many(KINDS["offset_random"]).target - many(KINDS["plain"]).target).mean((2, 3))
    assert float(random.std()) == pytest.approx(0.1 / 3**0.5, rel=0.1)  # E[u²] = 1/3


def test_multires_noise_has_more_of_the_coarse_and_the_same_variance() -> None:
    coloured, plain = many(KINDS["multires"]).target, many(KINDS["plain"]).target
    assert coloured.flatten(1).std(1) == pytest.approx(torch.ones(400), abs=1e-4)
    coarse, usual = (torch.nn.functional.avg_pool2d(each, 8).var() for each in (coloured, plain))
    assert float(coarse) > 1.3 * float(usual)


def test_perturbation_is_added_but_not_asked_for() -> None:
    drawn = many(KINDS["perturbation"])
    assert torch.equal(drawn.target, many(KINDS["plain"]).target)
    extra = drawn.added - drawn.target
    assert float(extra.std()) == pytest.approx(0.1, rel=0.02)


def test_timesteps_stay_between_their_bounds() -> None:
    drawn = many(NoiseOptions(min_timestep=300, max_timestep=310))
    assert set(drawn.timesteps.tolist()) == set(range(300, 310))


@pytest.mark.parametrize(
    ("knobs", "field"),
    [
        ({"min_timestep": 500, "max_timestep": 500}, "min_timestep"),
        ({"offset": 0.1, "multires_iterations": 6}, "offset"),
        ({"offset_random": True}, "offset_random"),
        ({"perturbation_random": True}, "perturbation_random"),
    ],
)
def test_what_makes_no_sense_together_is_refused(knobs: dict, field: str) -> None:
    (problem,) = NoiseOptions(**knobs).problems()
    assert problem.path == (field,) and problem.cure


def test_an_adaptive_offset_grows_with_the_mean_of_each_channel() -> None:
    """sd-scripts' `apply_noise_offset`: offset + scale · |mean of the channel|, at least 0."""
    clean = torch.tensor([0.0, 1.0, -2.0, 0.5]).reshape(1, 4, 1, 1).expand(400, *SHAPE)
    for scale, expected in ((0.3, [0.1, 0.4, 0.7, 0.25]), (-0.1, [0.1, 0.0, 0.0, 0.05])):
        drawn = NoiseOptions(offset=0.1, offset_adaptive=scale).draw(3, 0, range(400), clean, PROCESS)
        plain = noise.draw(3, 0, range(400), SHAPE, PROCESS).target
        shifts = (drawn.target - plain).mean((2, 3))
        assert shifts.std(0).tolist() == pytest.approx(expected, abs=0.04)
    assert [problem.path for problem in NoiseOptions(offset_adaptive=0.1).problems()] == [("offset_adaptive",)]
