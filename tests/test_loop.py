"""The loop itself, on a network small enough to check by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import pytest
import torch

from lorapipe.training import noise
from lorapipe.training.diffusion import EpsilonPrediction
from lorapipe.training.flat_parameters import flatten
from lorapipe.training.loop import Inputs, MicroBatch, Objective, Pass, PlainPasses, Step, Update, train
from lorapipe.training.losses.mse import Mse
from lorapipe.training.noise_options import NoiseOptions
from lorapipe.training.weightings import Weighting
from lorapipe.training.weightings.min_snr import MinSnr
from lorapipe.training.weightings.none import NoWeighting


class Denoiser(torch.nn.Module):
    """A small ε-predictor: two convolutions, with timestep and caption vector added between them."""

    device = torch.device("cpu")
    dtype = torch.float32
    diffusion = EpsilonPrediction(torch.linspace(0.9991, 0.0047, 1000))

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inward, self.outward = torch.nn.Conv2d(4, 16, 3, padding=1), torch.nn.Conv2d(16, 4, 3, padding=1)
        self.time, self.text = torch.nn.Linear(2, 16), torch.nn.Linear(3, 16)

    def predict(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, condition: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        phase = timesteps[:, None] / 1000 * torch.tensor([math.pi, math.tau])
        middle = self.time(torch.sin(phase)) + self.text(condition["text"])
        return self.outward(torch.nn.functional.silu(self.inward(noisy) + middle[:, :, None, None]))


PICTURES = torch.randn(8, 4, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.3 + 1
CAPTIONS = torch.randn(8, 3, generator=torch.Generator().manual_seed(2))


def micro(*indices: int) -> MicroBatch:
    picked = list(indices)
    return MicroBatch(PICTURES[picked], lambda: {"text": CAPTIONS[picked]})


def optimizer_of(model: Denoiser, rate: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.AdamW([{"params": list(model.parameters()), "lr": rate, "name": "unet"}])


def updates(*groups: list[MicroBatch], start: int = 0) -> Iterator[Update]:
    return (Update(start + step, batches) for step, batches in enumerate(groups))


def usual(model: Denoiser, seed: int = 0, weighting: Weighting = MinSnr()) -> Objective:  # noqa: B008 (frozen)
    return Objective(model, Mse(), weighting, NoiseOptions().draw, seed)


def run(groups: list[list[MicroBatch]], model: Denoiser | None = None, **knobs) -> tuple[list[float], Denoiser]:
    model = model or Denoiser()
    objective = usual(model, knobs.pop("seed", 0), knobs.pop("weighting", MinSnr()))
    steps = train(updates(*groups), objective, optimizer_of(model), lambda step: 1.0, **knobs)
    return [float(step.loss) for step in steps], model


def weights(model: Denoiser) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_it_learns() -> None:
    losses, _ = run([[micro(0, 1, 2, 3)], [micro(4, 5, 6, 7)]] * 100, weighting=NoWeighting())
    assert sum(losses[-20:]) < 0.7 * sum(losses[:20])


def test_a_step_is_made_only_when_asked_for() -> None:
    model = Denoiser()
    before = weights(model)
    steps = train(
        updates([micro(0)], [micro(1)]),
        usual(model),
        optimizer_of(model),
        lambda _: 1.0,
    )
    assert torch.equal(weights(model), before)
    first = next(steps)
    assert isinstance(first, Step)
    assert first.step == 1
    assert not torch.equal(weights(model), before)
    assert [step.step for step in steps] == [2]


def test_the_loss_is_the_weighted_mean_of_the_papers() -> None:
    """Compute one step's loss from the definitions, sample by sample."""
    model = Denoiser()
    expected = 0.0
    noises, timesteps, _ = noise.draw(5, 0, range(2), (4, 8, 8), model.diffusion)
    for sample, picture in enumerate((3, 6)):
        alpha_bar = float(model.diffusion.alphas_cumprod[timesteps[sample]])
        noisy = math.sqrt(alpha_bar) * PICTURES[picture] + math.sqrt(1 - alpha_bar) * noises[sample]
        with torch.no_grad():
            said = model.predict(noisy[None], timesteps[sample, None], {"text": CAPTIONS[[picture]]})[0]
        snr = alpha_bar / (1 - alpha_bar)
        expected += min(snr, 2.0) / snr * float((said - noises[sample]).square().mean()) / 2
    losses, _ = run([[micro(3, 6)]], weighting=MinSnr(gamma=2.0), seed=5)
    assert losses[0] == pytest.approx(expected, rel=1e-4)


def test_two_batches_of_one_are_one_batch_of_two() -> None:
    one, first = run([[micro(0, 1)], [micro(2, 3)], [micro(4, 5)]])
    two, second = run([[micro(0), micro(1)], [micro(2), micro(3)], [micro(4), micro(5)]])
    assert two == pytest.approx(one, rel=1e-5)
    assert torch.allclose(weights(first), weights(second), atol=1e-5)


def test_an_update_that_runs_out_of_memory_is_repeated_when_some_was_freed() -> None:
    """What the complete passes had added to the gradients does not count twice."""

    class Short(PlainPasses):
        passes, released = 0, 0

        def __call__(self, run: Pass, inputs: Inputs) -> torch.Tensor:
            loss = super().__call__(run, inputs)
            type(self).passes += 1
            if self.passes == 4:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return loss

        def release(self) -> bool:
            type(self).released += 1
            return True

    groups = [[micro(0), micro(1)]] * 3
    losses, model = run(groups, passes=Short(torch.device("cpu")))
    expected, plain = run(groups)
    assert losses == expected
    assert torch.equal(weights(model), weights(plain))
    assert (Short.passes, Short.released) == (8, 1)


def test_every_sample_weighs_the_same_in_uneven_batches() -> None:
    """A bucket's last, smaller batch does not give its picture more weight."""
    one, first = run([[micro(0, 1, 2)]] * 3)
    two, second = run([[micro(0, 1), micro(2)]] * 3)
    assert two == pytest.approx(one, rel=1e-5)
    assert torch.allclose(weights(first), weights(second), atol=1e-5)


def test_the_same_seed_is_the_same_curve_and_another_is_another() -> None:
    groups = [[micro(0, 1)]] * 5
    assert run(groups, seed=1)[0] == run(groups, seed=1)[0]
    assert run(groups, seed=1)[0] != run(groups, seed=2)[0]


def test_what_others_draw_in_between_changes_nothing() -> None:
    """Previews and evaluations use the global generator, which must not affect dropout in a model."""

    class Dropping(Denoiser):
        def predict(self, noisy, timesteps, condition):  # type: ignore[no-untyped-def]
            return torch.nn.functional.dropout(super().predict(noisy, timesteps, condition), 0.2)

    def losses(disturb: bool) -> list[float]:
        model = Dropping()
        steps = train(
            updates(*[[micro(0, 1)]] * 4),
            usual(model),
            optimizer_of(model),
            lambda _: 1.0,
        )
        found = []
        for step in steps:
            found.append(float(step.loss))
            if disturb:
                torch.rand(17)
        return found

    assert losses(True) == losses(False)


def test_the_scheduler_scales_every_rate_from_where_it_began() -> None:
    model = Denoiser()
    optimizer = optimizer_of(model, 1e-2)
    steps = list(
        train(
            updates(*[[micro(0)]] * 3),
            usual(model),
            optimizer,
            lambda step: 1 / (step + 1),
        )
    )
    assert [step.rates["unet"] for step in steps] == pytest.approx([1e-2, 5e-3, 1e-2 / 3])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-2 / 3)


def test_clipping_shortens_long_gradients_only() -> None:
    def gradient(limit: float) -> torch.Tensor:
        model = Denoiser()
        sgd = torch.optim.SGD([{"params": list(model.parameters()), "lr": 1.0, "name": "unet"}])
        before = weights(model)
        list(
            train(
                updates([micro(0)]),
                usual(model),
                sgd,
                lambda _: 1.0,
                max_grad_norm=limit,
            )
        )
        return before - weights(model)

    free = gradient(0.0)
    assert float(free.norm()) > 0.01
    assert torch.allclose(gradient(1e6), free, atol=1e-7)
    assert float(gradient(0.01).norm()) == pytest.approx(0.01, rel=1e-2)
    assert torch.allclose(gradient(0.01) / 0.01, free / free.norm(), atol=1e-3)


def test_one_flat_tensor_is_the_same_training() -> None:
    def losses(flat: bool) -> list[float]:
        model = Denoiser()
        parameters = [flatten(list(model.parameters()))] if flat else list(model.parameters())
        optimizer = torch.optim.AdamW([{"params": parameters, "lr": 1e-3, "name": "unet"}])
        objective = usual(model)
        steps = train(updates(*[[micro(0, 1)]] * 10), objective, optimizer, lambda _: 1.0, max_grad_norm=0.1)
        return [float(step.loss) for step in steps]

    assert losses(True) == pytest.approx(losses(False), rel=1e-5)


def test_the_scaler_leaves_the_steps_as_they_are_and_skips_what_overflows() -> None:
    groups = [[micro(0, 1)], [micro(2, 3)]]
    plain, _ = run(groups)
    scaled, _ = run(groups, scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))
    assert scaled == pytest.approx(plain, rel=1e-5)

    model = Denoiser()
    objective = Objective(model, lambda *of: 1e4 * Mse()(*of), MinSnr(), NoiseOptions().draw, 0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1e38, backoff_factor=1e-38)
    before, after = weights(model), []
    for _ in train(updates([micro(0)], [micro(0)]), objective, optimizer_of(model), lambda _: 1.0, scaler=scaler):
        after.append(weights(model))
    assert torch.equal(after[0], before)  # overflowed: left out, and the scale lowered
    assert not torch.equal(after[1], before)
    assert torch.isfinite(after[1]).all()


def test_a_trained_text_encoder_is_asked_anew_at_every_step() -> None:
    """With a trained text encoder, an earlier step's condition would be stale and its graph freed."""
    model = Denoiser()
    encoder = torch.nn.Linear(3, 3)
    groups = [{"params": [encoder.weight, encoder.bias], "lr": 1e-2, "name": "text_encoder"}]
    optimizer = torch.optim.AdamW(groups)
    batch = MicroBatch(PICTURES[:2], lambda: {"text": encoder(CAPTIONS[:2])})
    before = encoder.weight.detach().clone()
    list(train(updates([batch], [batch]), usual(model), optimizer, lambda _: 1.0))
    assert not torch.equal(encoder.weight, before)
