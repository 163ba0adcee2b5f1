"""Optimizers.

An optimizer is a spec that names a class of a library (`implementation`). Its knobs are that class's arguments, with the
training guide's defaults for LoRA instead of the library's. Further arguments go under `arguments`, which are checked
against the signature in the library's source. `state_dict()` must contain the whole state, as tensors and plain values:
checkpoints save it.

To add an optimizer, create a file here with the knobs and `implementation`; override `keywords` where a knob is not simply
an argument.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.errors import InputError, Problem, near_miss
from lorapipe.spec import Spec, knobs, param
from lorapipe.training.optimizers._signature import defaults_of, unlike

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Optimizer(Spec, contract="type"):
    """An optimizer of a library, with its hyperparameters."""

    implementation: ClassVar[str]
    """`package.module:Class`; the class's first argument is the parameter groups."""
    without_waiting: ClassVar[str] = ""
    """The class to use in its place on an NVIDIA GPU: the same algorithm, state and arguments, whose step does not wait for
    the device. Empty: the same class."""
    waits: ClassVar[bool] = False
    """True where its package reads values within a step, or may: a GPU is waited for."""
    adaptive: ClassVar[bool] = False
    """True where the optimizer estimates its own step size: learning rates are then factors around 1.0."""
    one_rate: ClassVar[bool] = False
    """True where all trained parts must have the same learning rate, because there is one estimate for all."""
    follows_rate: ClassVar[bool] = True
    """False where the optimizer has its own schedule and ignores learning rates."""
    warms_up: ClassVar[bool] = True
    """False where the small learning rates of a warm-up would mislead the estimate."""
    elementwise: ClassVar[bool] = True
    """True where an element's step depends neither on its tensor's shape nor on other elements, so that the many small
    matrices of an adapter can be passed as one flat tensor. False for Adafactor, which factors matrices."""
    averages: ClassVar[bool] = False
    """True where the result is the optimizer's own average of all steps, so that no other code may change the parameters."""
    slow: ClassVar[bool] = False
    """True where a training of the usual length is too short for it."""
    denoiser_rate: ClassVar[float] = 1e-4
    """Default learning rate of the denoiser, where the optimizer is not adaptive (guide §3, §4)."""
    low_alpha: ClassVar[bool] = False
    """True where an alpha above half the rank spoils the estimate of the step size (guide §5)."""
    states: ClassVar[float] = 2.0
    """Size of its state per parameter, in 4-byte numbers, for memory estimates."""
    install: ClassVar[str] = ""
    """How to install the library, where lorapipe does not depend on it."""

    @property
    def per_parameter(self) -> bool:
        """Whether no parameter's step depends on another, so that each may be stepped when its gradient is there."""
        return not (self.adaptive or self.averages)

    arguments: dict[str, Any] = param(
        dict,
        "further arguments of the library's class, by its own names: {maximize: false}",
        kohya=("optimizer_args",),
        rare=True,
    )

    def usual_rate(self, role: str) -> float:
        """Return the default learning rate of parts of this role (`Model.roles`).

        1 where the optimizer is adaptive; else `denoiser_rate`, half of it for a text encoder (guide §3, §4), and far more
        for the vectors of a word: 5e-3 for AdamW, as in A1111 (`textual_inversion.py`).
        """
        if self.adaptive:
            return 1.0
        if role == "embedding":
            return min(50 * self.denoiser_rate, 0.01)
        return self.denoiser_rate if role == "denoiser" else self.denoiser_rate / 2

    def keywords(self) -> dict[str, Any]:
        """Return the knobs as arguments of the library's class: by name, and `beta1, beta2 …` as `betas`.

        Knobs that are None are left out, for the library's default.
        """
        values = {knob.name: getattr(self, knob.name) for knob in knobs(type(self)) if knob.name != "arguments"}
        own = {name: value for name, value in values.items() if value is not None}
        betas = tuple(own.pop(name) for name in sorted(own) if name.startswith("beta"))
        return {"betas": betas, **own} if betas else own

    def problems(self) -> Iterator[Problem]:
        """Check that the library is installed and knows the arguments."""
        package = self.implementation.partition(".")[0]
        if importlib.util.find_spec(package) is None:
            yield Problem(f"{self.name} needs {package}, which is not installed.", cure=self.install)
        elif self.arguments:
            yield from self._odd_arguments()

    def _odd_arguments(self) -> Iterator[Problem]:
        ours = {knob.name for knob in knobs(type(self))} - {"arguments"}
        betas = sorted(name for name in ours if name.startswith("beta"))
        known, who = defaults_of(self.implementation), self.implementation.partition(":")[2]
        free = sorted({*known} - ours - {"params", "lr", *(["betas"] if betas else [])})
        for name, value in self.arguments.items():
            if name in ours or (name == "betas" and betas):
                yield _knob_of_its_own(name, betas)
            elif name in ("params", "lr"):
                cure = "Give the rates as unet_lr and text_encoder_lr of the training."
                yield Problem(f"{name} is not given to the optimizer here.", cure=cure, path=("arguments", name))
            elif name not in known:
                cure = near_miss(name, [*free, *ours])
                yield Problem(f"{who} has no argument {name!r}.", cure=cure, path=("arguments", name))
            elif complaint := unlike(value, known[name]):
                yield Problem(f"{who} {complaint}", path=("arguments", name))

    def build(self, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
        """Build the optimizer for groups `{"params": [...], "lr": float, "name": str}`; all parameters are float32.

        `InputError` where the library cannot be loaded here or refuses `arguments`.
        """
        on_gpu = self.without_waiting if groups[0]["params"][0].is_cuda else ""
        module, _, name = (on_gpu or self.implementation).partition(":")
        try:
            kind = getattr(importlib.import_module(module), name)
        except (ImportError, OSError, RuntimeError) as error:  # a library built for another GPU or platform
            raise InputError(f"{self.name} cannot be used here: {error}", cure=self.install) from None
        keywords = {"lr": groups[0]["lr"], **self.keywords(), **self.arguments}
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # some print their arguments
                optimizer: torch.optim.Optimizer = kind(groups, **keywords)
        except (TypeError, ValueError) as error:
            if not self.arguments:
                raise
            told = ", ".join(f"{key}: {value}" for key, value in self.arguments.items())
            raise InputError(f"{name} does not take {told}: {error}", where="optimizer.arguments") from None
        return optimizer

    def effective_learning_rates(self, optimizer: torch.optim.Optimizer) -> dict[str, float | torch.Tensor]:
        """Return the estimates for the log: d, and d × lr, the equivalent learning rate of AdamW.

        {} where the optimizer estimates no d (D-Adaptation: Defazio & Mishchenko 2023, arXiv:2301.07733); one pair for
        each part where each has its own. Called at every step, so tensors stay on the device.
        """
        groups = [group for group in optimizer.param_groups if "d" in group]
        if not groups:
            return {}
        if self.one_rate:
            group = max(groups, key=lambda group: group["lr"])
            return {"d": group["d"], "d*lr": group["d"] * group["lr"]}
        found: dict[str, float | torch.Tensor] = {}
        for group in groups:
            found |= {f"d/{group['name']}": group["d"], f"d*lr/{group['name']}": group["d"] * group["lr"]}
        return found


@contextlib.contextmanager
def averaged_weights(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Set the parameters to the optimizer's average inside the context; restore them bit for bit afterwards.

    A schedule-free optimizer evaluates gradients at another point than the average that is its result, and switches
    between the two with `eval()` and `train()` (Defazio et al. 2024, arXiv:2405.15682). `train()` rounds, so the old
    values are copied back. Other optimizers have no average, and nothing happens.
    """
    import torch

    if not callable(getattr(optimizer, "eval", None)):
        yield
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    before = [parameter.detach().clone() for parameter in parameters]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()
        with torch.no_grad():
            for parameter, old in zip(parameters, before, strict=True):
                parameter.copy_(old)


def _knob_of_its_own(name: str, betas: list[str]) -> Problem:
    knob = " and ".join(betas) if name == "betas" else name
    what = f"{name} is among the arguments, but is a setting of its own."
    return Problem(what, cure=f"Write {knob} beside `arguments`, not inside.", path=("arguments", name))
