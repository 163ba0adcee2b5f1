"""Prodigy and D-Adaptation whose estimates stay on the device, so that a step does not wait for the GPU.

The packages' classes read two sums into Python in every step, for each tensor. These are the same algorithms with the same
state, whose numbers (d, its numerator, the count of steps) are tensors of one float64; either continues the other's
state. What is rarely asked for (a closure, `slice_p`, sharded parameters) the packages' own steps do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import dadaptation
import prodigyopt
import torch
from torch import Tensor


def _numbers(group: dict[str, Any], *names: str) -> list[Tensor]:
    """Return numbers of a group as tensors on its parameters' device."""
    device = group["params"][0].device
    return [torch.as_tensor(group[name], dtype=torch.float64, device=device) for name in names]


def _common_rate(groups: list[dict[str, Any]]) -> float:
    """Return the learning rate of all groups that are trained."""
    rate = max(float(group["lr"]) for group in groups)
    if any(group["lr"] not in (rate, 0.0) for group in groups):
        raise RuntimeError("one estimate of the step size needs one learning rate in all groups, or 0")
    return rate


def _with_gradients(groups: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], torch.nn.Parameter]]:
    return ((group, each) for group in groups for each in group["params"] if each.grad is not None)


def _bias_correction(k: Tensor, beta1: float, beta2: float) -> Tensor:
    """Return Adam's, for step `k` from 0."""
    return (1 - beta2 ** (k + 1)).sqrt() / (1 - beta1 ** (k + 1))


class Prodigy(prodigyopt.Prodigy):
    """Prodigy  (Mishchenko & Defazio 2023, arXiv:2306.06101)."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        groups, first = self.param_groups, self.param_groups[0]
        if closure is not None or any(group.get("slice_p", 1) != 1 or group["fsdp_in_use"] for group in groups):
            return super().step(closure)
        rate, (beta1, beta2) = _common_rate(groups), first["betas"]
        beta3 = math.sqrt(beta2) if first["beta3"] is None else first["beta3"]
        d, d_max, numerator, k = _numbers(first, "d", "d_max", "d_numerator", "k")
        scale = d * rate * (_bias_correction(k, beta1, beta2) if first["use_bias_correction"] else 1.0)
        moved, length = torch.zeros_like(d), torch.zeros_like(d)
        for group, parameter in _with_gradients(groups):
            moments = self._moments(group, parameter)
            if group["lr"] > 0:
                distance, norm = self._accumulate(group, parameter, moments, d, scale, beta3)
                moved, length = moved + distance, length + norm
        has_moved = length > 0  # not before the first gradient that is not zero
        estimate = first["d_coef"] * (numerator * beta3 + moved) / length
        largest = torch.where(has_moved, torch.maximum(d_max, estimate), d_max)
        grown = torch.where(d == first["d0"], torch.maximum(d, estimate), d) * first["growth_rate"]
        new = torch.where(has_moved, torch.minimum(largest, grown), d)
        for group, parameter in _with_gradients(groups):
            self._move(group, parameter, new, scale, has_moved)
        found = {
            "d": new,
            "d_max": largest,
            "d_numerator": torch.where(has_moved, numerator * beta3 + moved, numerator),
            "d_denom": length,
            "d_hat": torch.where(has_moved, estimate, d),
            "k": k + has_moved,
        }
        for group in groups:
            group.update(found)
        return None

    def _moments(self, group: dict[str, Any], parameter: torch.nn.Parameter) -> dict[str, Any]:
        """Return the state of a parameter, and add L2 regularisation to its gradient."""
        state: dict[str, Any] = self.state[parameter]
        if "step" not in state:
            names = ("exp_avg", "exp_avg_sq", "s") if group["betas"][0] > 0 else ("exp_avg_sq", "s")
            state.update({name: torch.zeros_like(parameter) for name in names}, step=0)
            state["s"], state["p0"] = state["s"].flatten(), parameter.detach().flatten().clone()
        if group["weight_decay"] and not group["decouple"]:
            parameter.grad.add_(parameter, alpha=group["weight_decay"])
        return state

    @staticmethod
    def _accumulate(
        group: dict[str, Any],
        parameter: torch.nn.Parameter,
        state: dict[str, Any],
        d: Tensor,
        scale: Tensor,
        beta3: float,
    ) -> tuple[Tensor, Tensor]:
        """Update the moments, and return what the parameter adds to numerator and denominator of the estimate."""
        (beta1, beta2), gradient = group["betas"], parameter.grad
        assert gradient is not None
        flat = gradient.flatten()
        distance = d / group["d0"] * scale * torch.dot(flat, state["p0"].flatten() - parameter.flatten())
        if beta1 > 0:
            state["exp_avg"].mul_(beta1).add_(gradient * (d * (1 - beta1)))
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient * (d * d * (1 - beta2)), gradient)
        weight = d / group["d0"] * (d if group["safeguard_warmup"] else scale)
        sums = state["s"].view(-1).mul_(beta3).add_(flat * weight)
        return distance, sums.abs().sum()

    def _move(
        self,
        group: dict[str, Any],
        parameter: torch.nn.Parameter,
        d: Tensor,
        scale: Tensor,
        moves: Tensor,
    ) -> None:
        """Step with the rate of before and the new estimate `d`: decay, and by the moments over their root."""
        state = self.state[parameter]
        state["step"] += 1
        root = state["exp_avg_sq"].sqrt().add_(d * group["eps"])
        if group["weight_decay"] and group["decouple"]:
            parameter.add_(parameter * (-group["weight_decay"] * scale * moves))
        first = state["exp_avg"] if group["betas"][0] > 0 else parameter.grad * d
        parameter.addcdiv_(first * -scale, root)


class DAdaptAdam(dadaptation.DAdaptAdam):
    """Adam with D-Adaptation  (Defazio & Mishchenko 2023, arXiv:2301.07733)."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        groups, first = self.param_groups, self.param_groups[0]
        if closure is not None or any(group["log_every"] or group["fsdp_in_use"] for group in groups):
            return super().step(closure)
        rate, (beta1, beta2) = _common_rate(groups), first["betas"]
        d, numerator, k = _numbers(first, "d", "numerator_weighted", "k")
        scale = d * rate * (_bias_correction(k, beta1, beta2) if first["use_bias_correction"] else 1.0)
        found, length = torch.zeros_like(d), torch.zeros_like(d)
        for group, parameter in _with_gradients(groups):
            moments = self._moments(group, parameter)
            if group["lr"] > 0:
                added, norm = self._accumulate(group, parameter, moments, scale)
                found, length = found + added, length + norm
        has_moved, root = length > 0, beta2**0.5
        weighted = root * numerator + (1 - root) * found
        largest = torch.minimum(weighted / ((1 - root) * length), d * first["growth_rate"])
        new = torch.where(has_moved, torch.maximum(d, largest), d)
        for group, parameter in _with_gradients(groups):
            self._move(group, parameter, scale, has_moved)
        numbers = {"d": new, "numerator_weighted": torch.where(has_moved, weighted, numerator), "k": k + has_moved}
        for group in groups:
            group.update(numbers)
        return None

    def _moments(self, group: dict[str, Any], parameter: torch.nn.Parameter) -> dict[str, Any]:
        """Return the state of a parameter, and add L2 regularisation to its gradient."""
        state: dict[str, Any] = self.state[parameter]
        if "step" not in state:
            state.update({name: torch.zeros_like(parameter) for name in ("s", "exp_avg", "exp_avg_sq")}, step=0)
        if group["weight_decay"] and not group["decouple"]:
            parameter.grad.add_(parameter, alpha=group["weight_decay"])
        return state

    @staticmethod
    def _accumulate(
        group: dict[str, Any], parameter: torch.nn.Parameter, state: dict[str, Any], scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update the moments, and return what the parameter adds to numerator and denominator of the estimate."""
        (beta1, beta2), gradient, factor = group["betas"], parameter.grad, group["layer_scale"]
        assert gradient is not None
        root = state["exp_avg_sq"].sqrt().add_(group["eps"])
        added = factor * scale * torch.dot(gradient.flatten(), (state["s"] / root).flatten())
        state["exp_avg"].mul_(beta1).add_(gradient * (factor * scale * (1 - beta1)))
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        state["s"].mul_(beta2**0.5).add_(gradient * (scale * (1 - beta2**0.5)))
        return added, factor * state["s"].abs().sum()

    def _move(self, group: dict[str, Any], parameter: torch.nn.Parameter, scale: Tensor, moves: Tensor) -> None:
        """Step: decay, and by the moments, which the rate is a part of, over their root."""
        state = self.state[parameter]
        state["step"] += 1
        if group["weight_decay"] and group["decouple"]:
            parameter.add_(parameter * (-group["weight_decay"] * scale * moves))
        parameter.addcdiv_(state["exp_avg"], state["exp_avg_sq"].sqrt().add_(group["eps"]), value=-1)


class DAdaptLion(dadaptation.DAdaptLion):
    """Lion with D-Adaptation  (Defazio & Mishchenko 2023, arXiv:2301.07733)."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        groups, first = self.param_groups, self.param_groups[0]
        if closure is not None or any(group["log_every"] or group["fsdp_in_use"] for group in groups):
            return super().step(closure)
        d, numerator, k = _numbers(first, "d", "numerator_weighted", "k")
        (beta1, beta2), scale = first["betas"], d * _common_rate(groups)
        found, length, root = torch.zeros_like(d), torch.zeros_like(d), beta2**0.5
        for group, parameter in _with_gradients(groups):
            state = self.state[parameter]
            if "exp_avg" not in state:
                state.update({name: torch.zeros_like(parameter) for name in ("exp_avg", "s")})
            parameter.mul_(1 - scale * group["weight_decay"])
            update = (state["exp_avg"] * beta1).add_(parameter.grad, alpha=1 - beta1).sign_()
            parameter.add_(update * -scale)
            state["exp_avg"].mul_(beta2).add_(parameter.grad * ((1 - beta2) * scale))
            found = found + scale * torch.dot(update.flatten(), state["s"].flatten())
            state["s"].mul_(root).add_(update * ((1 - root) * scale))
            length = length + state["s"].abs().sum()
        has_moved = length > 0
        weighted = root * numerator + (1 - root) * found
        new = torch.where(has_moved, torch.maximum(d, weighted / ((1 - root) * length)), d)
        numbers = {"d": new, "numerator_weighted": torch.where(has_moved, weighted, numerator), "k": k + has_moved}
        for group in groups:
            group.update(numbers)
        return None


class DAdaptSGD(dadaptation.DAdaptSGD):
    """SGD with D-Adaptation  (Defazio & Mishchenko 2023, arXiv:2301.07733)."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        groups, first = self.param_groups, self.param_groups[0]
        if closure is not None or any(group["log_every"] or group["fsdp_in_use"] for group in groups):
            return super().step(closure)
        first.setdefault("g0_norm", 0.0)  # the norm of the first gradient that is not zero
        d, numerator, k, norm = _numbers(first, "d", "numerator_weighted", "k", "g0_norm")
        squared, length = torch.zeros_like(d), torch.zeros_like(d)
        for group, parameter in _with_gradients(groups):
            if group["lr"] > 0:
                squared = squared + parameter.grad.square().sum()
        norm = torch.where(k == 0, squared.sqrt(), norm)
        scale = torch.where(norm > 0, d * _common_rate(groups) / norm, 0.0)
        for group, parameter in _with_gradients(groups):
            sums, gradient = self._sums(parameter), parameter.grad
            if first["weight_decay"]:
                gradient.add_(parameter, alpha=first["weight_decay"])
            if group["lr"] > 0:
                numerator = numerator + scale * torch.dot(gradient.flatten(), sums.flatten())
                length = length + sums.add_(gradient * scale).square().sum()
        has_moved = length > 0
        largest = torch.minimum(2 * numerator / length.sqrt(), d * first["growth_rate"])
        new = torch.where(has_moved, torch.maximum(d, largest), d)
        share = (1 - first["momentum"]) * has_moved  # of the point without momentum, x0 − s, in the next
        for _, parameter in _with_gradients(groups):
            state = self.state[parameter]
            state["z"].copy_(state["x0"] - state["s"])
            parameter.mul_(1 - share).add_(state["z"] * share)
        numbers = {"d": new, "numerator_weighted": torch.where(has_moved, numerator, 0.0), "k": k + has_moved}
        for group in groups:
            group.update(numbers, g0_norm=norm)
        return None

    def _sums(self, parameter: torch.nn.Parameter) -> Tensor:
        """Return the sum of a parameter's gradients, which is made here with the rest of its state."""
        state: dict[str, Any] = self.state[parameter]
        if "z" not in state:
            state.update(z=parameter.detach().clone(), s=torch.zeros_like(parameter), x0=parameter.detach().clone())
        sums: Tensor = state["s"]
        return sums
