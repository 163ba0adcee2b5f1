"""Noise, targets and weights against numbers computed another way."""

from __future__ import annotations

import math

import pytest
import torch

from lorapipe.training import noise

# SD's schedule, computed without torch: scaled_linear 0.00085 … 0.012 in 1000 steps (FORMATS §1.3)
BETAS = [(math.sqrt(0.00085) + (math.sqrt(0.012) - math.sqrt(0.00085)) * t / 999) ** 2 for t in range(1000)]
ALPHAS_CUMPROD = []
product = 1.0
for beta in BETAS:
    product *= 1 - beta
    ALPHAS_CUMPROD.append(product)
SCHEDULE = torch.tensor(ALPHAS_CUMPROD)
T = torch.tensor([0, 250, 999])


def test_noise_depends_on_seed_step_and_sample_alone() -> None:
    whole = noise.draw(7, 3, range(4), (4, 8, 8), range(1000))
    for parts in ([range(1), range(1, 4)], [range(2), range(2, 4)]):
        drawn = [noise.draw(7, 3, part, (4, 8, 8), range(1000)) for part in parts]
        assert torch.equal(whole[0], torch.cat([each.target for each in drawn]))
        assert torch.equal(whole[1], torch.cat([each.timesteps for each in drawn]))


@pytest.mark.parametrize("other", [(8, 3, range(4)), (7, 4, range(4)), (7, 3, range(4, 8))])
def test_other_seeds_steps_and_samples_have_other_noise(other: tuple[int, int, range]) -> None:
    mine, theirs = noise.draw(7, 3, range(4), (4, 8, 8), range(1000)), noise.draw(*other, (4, 8, 8), range(1000))
    correlation = torch.corrcoef(torch.stack([mine[0].flatten(), theirs[0].flatten()]))[0, 1]
    assert abs(float(correlation)) < 0.1


def test_drawing_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    noise.draw(0, 0, range(2), (4, 8, 8), range(1000))
    assert torch.equal(torch.rand(3), expected)


def test_noise_is_standard_normal_and_timesteps_cover_the_schedule_evenly() -> None:
    drawn = [noise.draw(0, step, range(8), (4, 8, 8), range(1000)) for step in range(250)]
    noises, timesteps = (torch.cat([pair[part] for pair in drawn]) for part in (0, 1))
    assert abs(float(noises.mean())) < 0.01
    assert abs(float(noises.std()) - 1) < 0.01
    assert timesteps.min() >= 0
    assert timesteps.max() <= 999
    tenths = torch.bincount(timesteps // 100, minlength=10)
    assert tenths.min() > 150  # 200 expected in each, standard deviation 13
    assert tenths.max() < 250


def test_diffuse_and_targets_are_the_papers() -> None:
    clean, drawn = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    noisy = noise.diffuse(clean, drawn, T, SCHEDULE)
    v = noise.target("v_prediction", clean, drawn, T, SCHEDULE)
    assert noise.target("epsilon", clean, drawn, T, SCHEDULE) is drawn
    for place, t in enumerate(T.tolist()):
        signal, spread = math.sqrt(ALPHAS_CUMPROD[t]), math.sqrt(1 - ALPHAS_CUMPROD[t])
        assert torch.allclose(noisy[place], signal * clean[place] + spread * drawn[place], atol=1e-6)
        assert torch.allclose(v[place], signal * drawn[place] - spread * clean[place], atol=1e-6)
        # both answers lead back to the picture: x₀ = √ᾱ x_t − √(1−ᾱ) v
        assert torch.allclose(signal * noisy[place] - spread * v[place], clean[place], atol=1e-5)


def test_diffuse_is_what_the_samplers_scheduler_does() -> None:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    clean, drawn = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    ours = noise.diffuse(clean, drawn, T, scheduler.alphas_cumprod)
    assert torch.allclose(ours, scheduler.add_noise(clean, drawn, T), atol=1e-6)
    v = noise.target("v_prediction", clean, drawn, T, scheduler.alphas_cumprod)
    assert torch.allclose(v, scheduler.get_velocity(clean, drawn, T), atol=1e-6)
