"""Optimizers: how gradients become steps.

An optimizer is a spec that names a class of a library (`implementation`); its knobs are that class's arguments, with the
training guide's defaults for LoRA, not the library's. What has no knob can be given under `arguments`, which are held
against the signature in the library's source. The whole state must be in `state_dict()`, as tensors and plain values:
that is what a checkpoint keeps.

To add one, create a file here: the knobs and `implementation`, and `keywords` where a knob is not simply an argument.
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
    """The rule by which parameters follow their gradients."""

    implementation: ClassVar[str]
    """`package.module:Class`; its first argument is the parameter groups."""
    adaptive: ClassVar[bool] = False
    """True where the optimizer finds its own step size: rates are then factors around 1.0."""
    one_rate: ClassVar[bool] = False
    """True where all parts must have the same rate (or none), because one step size is estimated for all."""
    follows_rate: ClassVar[bool] = True
    """False where the optimizer makes its own schedule and looks at no rate."""
    warms_up: ClassVar[bool] = True
    """False where the small rates of a warm-up would be taken for something else."""
    elementwise: ClassVar[bool] = True
    """True where no element's step depends on the shape of its tensor or on its neighbours in it, so that the many
    small matrices of an adapter may be handed over as one flat tensor. False for Adafactor, which factors matrices."""
    averages: ClassVar[bool] = False
    """True where what is kept is an average of its own of all steps: nobody else may change the parameters meanwhile."""
    slow: ClassVar[bool] = False
    """True where a training of the usual length is too short."""
    denoiser_rate: ClassVar[float] = 1e-4
    """The denoiser's usual learning rate, where the optimizer is not adaptive (guide §3, §4)."""
    low_alpha: ClassVar[bool] = False
    """True where an alpha above half the rank spoils the estimate of the rate (guide §5)."""
    states: ClassVar[float] = 2.0
    """What it remembers of each parameter, in numbers of 4 bytes, for estimates of memory."""
    install: ClassVar[str] = ""
    """How to get the library where lorapipe does not bring it along."""

    @property
    def per_parameter(self) -> bool:
        """Whether no parameter's step depends on another, so that each may be stepped when its gradient is there."""
        return not (self.adaptive or self.averages)

    arguments: dict[str, Any] = param(
        dict,
        "further arguments of the library's class by their own names, for those who know it: {maximize: false}",
        kohya=("optimizer_args",),
    )

    def usual_rate(self, role: str) -> float:
        """The learning rate of parts of this role (`Model.roles`) where the user gives none.

        1 where the optimizer is adaptive; else the denoiser's, half of it for a text encoder (guide §3, §4), and far more
        for the vectors of a word, of which a step moves few: 5e-3 of AdamW, as A1111's (`textual_inversion.py`).
        """
        if self.adaptive:
            return 1.0
        if role == "embedding":
            return min(50 * self.denoiser_rate, 0.01)
        return self.denoiser_rate if role == "denoiser" else self.denoiser_rate / 2

    def keywords(self) -> dict[str, Any]:
        """The knobs as arguments of the library's class: by their names, `beta1, beta2 …` as `betas`.

        What is empty (None) is left to the library.
        """
        values = {knob.name: getattr(self, knob.name) for knob in knobs(type(self)) if knob.name != "arguments"}
        own = {name: value for name, value in values.items() if value is not None}
        betas = tuple(own.pop(name) for name in sorted(own) if name.startswith("beta"))
        return {"betas": betas, **own} if betas else own

    def problems(self) -> Iterator[Problem]:
        """A library that is not there, arguments that it does not know."""
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
        """The optimizer over groups `{"params": [...], "lr": float, "name": str}`; all parameters are float32."""
        module, _, name = self.implementation.partition(":")
        try:
            kind = getattr(importlib.import_module(module), name)
        except (ImportError, OSError, RuntimeError) as error:  # a library built for another GPU or platform
            raise InputError(f"{self.name} cannot be used here: {error}", cure=self.install) from None
        keywords = {"lr": groups[0]["lr"], **self.keywords(), **self.arguments}
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # some tell what they were told
                optimizer: torch.optim.Optimizer = kind(groups, **keywords)
        except (TypeError, ValueError) as error:
            if not self.arguments:
                raise
            told = ", ".join(f"{key}: {value}" for key, value in self.arguments.items())
            raise InputError(f"{name} does not take {told}: {error}", where="optimizer.arguments") from None
        return optimizer

    def effective_learning_rates(self, optimizer: torch.optim.Optimizer) -> dict[str, float | torch.Tensor]:
        """The effective learning rates for the log: d, and d × lr, which AdamW would be given for steps like these.

        {} where the optimizer finds no d (D-Adaptation: Defazio & Mishchenko 2023, arXiv:2301.07733). For each part where
        each has its own. Asked at every step: tensors stay tensors.
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
    """Within: the parameters as they are to be kept and judged. Afterwards the training goes on bit for bit.

    A schedule-free optimizer takes its gradients at another point than the average that is its answer, and has `eval()`
    and `train()` to go between them (Defazio et al. 2024, arXiv:2405.15682). The way back rounds, so it is not used.
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
    what = f"{name} is given as an argument, and is a knob of its own."
    return Problem(what, cure=f"Write {knob} beside `arguments`, not below.", path=("arguments", name))
