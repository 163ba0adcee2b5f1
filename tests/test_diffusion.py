"""Diffusion processes compared with independently computed numbers."""

from __future__ import annotations

import math

import pytest
import torch

from lorapipe.training.diffusion import Diffusion, Flow, discrete, scheduler_from_config

# SD's schedule, computed without torch: scaled_linear 0.00085 … 0.012 in 1000 steps (FORMATS §1.3)
BETAS = [(math.sqrt(0.00085) + (math.sqrt(0.012) - math.sqrt(0.00085)) * t / 999) ** 2 for t in range(1000)]
ALPHAS_CUMPROD = []
product = 1.0
for beta in BETAS:
    product *= 1 - beta
    ALPHAS_CUMPROD.append(product)
SCHEDULE = torch.tensor(ALPHAS_CUMPROD)
T = torch.tensor([0, 250, 999])
EPSILON, V = discrete("epsilon", SCHEDULE), discrete("v_prediction", SCHEDULE)
FLOW = Flow(shift=3.0)
PROCESSES = {"epsilon": EPSILON, "v_prediction": V, "flow": FLOW}


def test_mixtures_and_targets_are_the_papers() -> None:
    clean, drawn = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    noisy = EPSILON.mix(clean, drawn, T)
    v = V.target(clean, drawn, T)
    assert EPSILON.target(clean, drawn, T) is drawn
    for place, t in enumerate(T.tolist()):
        signal, spread = math.sqrt(ALPHAS_CUMPROD[t]), math.sqrt(1 - ALPHAS_CUMPROD[t])
        assert torch.allclose(noisy[place], signal * clean[place] + spread * drawn[place], atol=1e-6)
        assert torch.allclose(v[place], signal * drawn[place] - spread * clean[place], atol=1e-6)
        # both answers lead back to the picture: x₀ = √ᾱ x_t − √(1−ᾱ) v
        assert torch.allclose(signal * noisy[place] - spread * v[place], clean[place], atol=1e-5)


def test_mixing_is_what_the_samplers_scheduler_does() -> None:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    clean, drawn = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    ours = V.mix(clean, drawn, T)
    assert torch.allclose(ours, scheduler.add_noise(clean, drawn, T), atol=1e-6)
    v = V.target(clean, drawn, T)
    assert torch.allclose(v, scheduler.get_velocity(clean, drawn, T), atol=1e-6)


@pytest.mark.parametrize(
    "kind", ["DDPMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"]
)
@pytest.mark.parametrize("stored", ["PNDMScheduler", "EulerDiscreteScheduler", "LMSDiscreteScheduler", None])
def test_a_scheduler_is_built_as_diffusers_builds_it(kind: str, stored: str | None) -> None:
    import diffusers

    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    config = {**schedule, "trained_betas": None, "nobody_knows": 3}
    if stored:  # as a folder's scheduler_config.json has it: the class, its version, and which values were not set
        config |= {**getattr(diffusers, stored)(**schedule).config, "_diffusers_version": "0.30.0"}
    ours = scheduler_from_config(getattr(diffusers, kind), config)
    theirs = getattr(diffusers, kind).from_config(config)
    assert dict(ours.config) == dict(theirs.config)
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)


@pytest.mark.parametrize("name", PROCESSES)
def test_a_perfect_network_leads_back_to_the_picture(name: str) -> None:
    """Sampling agrees with training: with the true prediction at each step, every sampler gets from noise to x₀."""
    diffusion, clean = PROCESSES[name], torch.randn(1, 4, 4, 4)
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "prediction_type": name}
    config |= {"clip_sample": False, "timestep_spacing": "leading"}
    if name != "flow":
        diffusion = discrete(name, SCHEDULE, config)
    for solver_name in ("dpm++", "ddim", "euler"):
        solver = diffusion.solver(solver_name, 25, torch.device("cpu"), clean.shape[1:])  # type: ignore[arg-type]
        latents = solver.start(torch.randn(1, 4, 4, 4))
        for t in solver.timesteps:
            seen, when = solver.scaled(latents, t), (t if name == "flow" else t.long()).expand(1)
            noise = _noise_in(diffusion, seen, clean, when)
            latents = solver.step(diffusion.target(clean, noise, when), t, latents)
        assert torch.allclose(latents, clean, atol=0.06), solver_name


def _noise_in(diffusion: Diffusion, noisy: torch.Tensor, clean: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Return ε of x_t for a known x₀, from the SNR alone."""
    zero, one = torch.zeros_like(clean), torch.ones_like(clean)
    signal, spread = diffusion.mix(one, zero, t), diffusion.mix(zero, one, t)
    return (noisy - signal * clean) / spread


@pytest.mark.parametrize("name", PROCESSES)
def test_ratios_are_those_of_the_mixture(name: str) -> None:
    diffusion, one, zero = PROCESSES[name], torch.ones(3, 1, 1, 1), torch.zeros(3, 1, 1, 1)
    t = torch.stack([diffusion.at(share) for share in (0.1, 0.5, 0.9)])
    signal, spread = diffusion.mix(one, zero, t).flatten(), diffusion.mix(zero, one, t).flatten()
    assert torch.allclose(diffusion.snr(t), signal**2 / spread**2, rtol=1e-4)
    assert torch.allclose(diffusion.sigma(t), spread / signal, rtol=1e-4)
    assert diffusion.share(t).tolist() == pytest.approx([0.1, 0.5, 0.9])


def test_epsilon_share_is_how_much_smaller_an_error_of_the_noise_is() -> None:
    for name, diffusion in PROCESSES.items():
        noise, other, clean = (torch.randn(1, 4, 4, 4, dtype=torch.float64) for _ in range(3))
        t = diffusion.at(0.7)[None]
        noisy = diffusion.mix(clean, noise, t)
        # the picture that the other noise implies for the same x_t
        one, zero = torch.ones_like(clean), torch.zeros_like(clean)
        signal, spread = diffusion.mix(one, zero, t), diffusion.mix(zero, one, t)
        implied = (noisy - spread * other) / signal
        output = diffusion.target(clean, noise, t) - diffusion.target(implied, other, t)
        share = (noise - other).square().mean() / output.square().mean()
        assert float(diffusion.epsilon_share(t)) == pytest.approx(float(share), rel=1e-3), name


def test_a_flow_draws_more_noise_the_more_it_is_shifted() -> None:
    def mean(shift: float, low: int = 0, high: int = 1000) -> float:
        generator = torch.Generator().manual_seed(0)
        drawn = torch.stack([Flow(shift).draw(generator, low, high, (4, 8, 8)) for _ in range(400)])
        assert drawn.min() >= max(low, 1) and drawn.max() <= min(high, 999)
        return float(drawn.mean())

    assert mean(1.0) == pytest.approx(500, abs=30)
    assert mean(3.0) > mean(1.0) + 150
    mean(3.0, 300, 310)


def test_a_prediction_that_nothing_is_known_of_is_refused() -> None:
    with pytest.raises(ValueError, match="prediction_type is sample"):
        discrete("sample", SCHEDULE)
