"""The noise of a training."""

from __future__ import annotations

import pytest
import torch

from lorapipe.training import noise
from lorapipe.training.diffusion import EpsilonPrediction

PROCESS = EpsilonPrediction(torch.linspace(0.999, 0.005, 1000))


def test_noise_depends_on_seed_step_and_sample_alone() -> None:
    whole = noise.draw(7, 3, range(4), (4, 8, 8), PROCESS)
    for parts in ([range(1), range(1, 4)], [range(2), range(2, 4)]):
        drawn = [noise.draw(7, 3, part, (4, 8, 8), PROCESS) for part in parts]
        assert torch.equal(whole[0], torch.cat([each.target for each in drawn]))
        assert torch.equal(whole[1], torch.cat([each.timesteps for each in drawn]))


@pytest.mark.parametrize("other", [(8, 3, range(4)), (7, 4, range(4)), (7, 3, range(4, 8))])
def test_other_seeds_steps_and_samples_have_other_noise(other: tuple[int, int, range]) -> None:
    mine, theirs = noise.draw(7, 3, range(4), (4, 8, 8), PROCESS), noise.draw(*other, (4, 8, 8), PROCESS)
    correlation = torch.corrcoef(torch.stack([mine[0].flatten(), theirs[0].flatten()]))[0, 1]
    assert abs(float(correlation)) < 0.1


def test_drawing_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    noise.draw(0, 0, range(2), (4, 8, 8), PROCESS)
    assert torch.equal(torch.rand(3), expected)


def test_noise_is_standard_normal_and_timesteps_cover_the_schedule_evenly() -> None:
    drawn = [noise.draw(0, step, range(8), (4, 8, 8), PROCESS) for step in range(250)]
    noises, timesteps = (torch.cat([pair[part] for pair in drawn]) for part in (0, 1))
    assert abs(float(noises.mean())) < 0.01
    assert abs(float(noises.std()) - 1) < 0.01
    assert timesteps.min() >= 0
    assert timesteps.max() <= 999
    tenths = torch.bincount(timesteps // 100, minlength=10)
    assert tenths.min() > 150  # 200 expected in each, standard deviation 13
    assert tenths.max() < 250
