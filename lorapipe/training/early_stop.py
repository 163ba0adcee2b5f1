"""Early stopping: evaluates a training at intervals on fixed pictures and noise, and detects when later steps are worse.

The pictures are training pictures, held-out pictures if there are eight, and pictures that the base generates from captions
without the trigger word. A training that changes only its subject leaves the loss on the latter as it is: its rise is drift.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch

from lorapipe.atomic import write_text
from lorapipe.errors import InputError
from lorapipe.evaluation.probe import Subject, losses, relative, subject_of
from lorapipe.evaluation.sampler import Sampler, SamplingOptions
from lorapipe.models import Condition, Model, TextReading
from lorapipe.pipeline.events import Log, Metric
from lorapipe.series import evenly_spaced
from lorapipe.training.caption_augment import Captioning
from lorapipe.training.check_steps import LEVELS, PICTURES, check_steps
from lorapipe.training.data.manifest import Manifest
from lorapipe.training.data.training_set import own_captions
from lorapipe.training.data.trigger_word import trigger_word, without_word
from lorapipe.training.early_stop_rule import LEAST_CHECKS, LEAST_HELD_OUT, Check, reason_to_stop
from lorapipe.training.seeds import seed_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from lorapipe.models import Family
    from lorapipe.pipeline.context import Context
    from lorapipe.training.data.buckets import Pair
    from lorapipe.training.data.cache import Cache
    from lorapipe.training.data.manifest import Picture
    from lorapipe.training.options import TrainingOptions

FILE = "early_stop.json"
SAMPLING_STEPS = 12


@dataclass
class EarlyStop:
    """Checks a training at `steps`. `sets` maps names to pictures; `fit` and `drift` are never empty.

    `conditions` are their encoded captions, for a frozen text encoder. `checks` are the results so far.
    """

    model: Model
    steps: frozenset[int]
    sets: Mapping[str, Sequence[Subject]]
    reading: TextReading
    context: Context
    conditions: Mapping[str, Condition] | None = None
    checks: list[Check] = field(default_factory=list)

    def resume(self, state: Sequence[Mapping[str, Any]]) -> bool:
        """Load the checks of a resume state; return whether the earlier attempt has stopped early."""
        self.checks = [
            Check(each["step"], *(tuple(each[name]) for name in ("fit", "drift", "held_out"))) for each in state
        ]
        return self.stopped_at is not None

    @property
    def state(self) -> list[dict[str, object]]:
        """The checks for the resume state."""
        return [check.plain() for check in self.checks]

    @property
    def reason(self) -> str | None:
        """Why the training should stop after the last check; None if it should not."""
        return reason_to_stop(self.checks)

    @property
    def stopped_at(self) -> int | None:
        """The step after which the training stopped; None if it did not."""
        return self.checks[-1].step if self.reason else None

    def check(self, step: int) -> bool:
        """Evaluate the model after `step`; return whether the training should stop now."""
        found = {name: relative(self._losses(name), self._base[name]) for name in self.sets}
        self.checks.append(Check(step, found["fit"], found["drift"], found.get("held_out", ())))
        self.context.emit(Metric(step=step, values=self.checks[-1].values))
        if reason := self.reason:
            self.context.emit(Log(text=f"stop: early. Stopped after step {step}: {reason}."))
        return reason is not None

    def measure_base(self) -> None:
        """Measure the base. Call it before an adapter is attached."""
        assert self._base

    @cached_property
    def _base(self) -> dict[str, torch.Tensor]:
        return {name: self._losses(name) for name in self.sets}

    def _losses(self, name: str) -> torch.Tensor:
        """Return the losses of a set, (pictures, noise levels)."""
        return losses(self.model, self.sets[name], self.reading, LEVELS[name], self.conditions)

    def save(self, total: int) -> None:
        """Write checks and decision to the result."""
        text = {"stopped_at": self.stopped_at, "of": total, "reason": self.reason or "", "checks": self.state}
        write_text(json.dumps(text, indent=1) + "\n", self.context.out / FILE)


def early_stop(
    options: TrainingOptions, model: Model, total: int, trained: Iterable[str], cache: Cache, context: Context
) -> EarlyStop | None:
    """Make the early stopping of a training of `total` steps, and measure the base; the model must have no adapter.

    `trained` are the trained parts. None if the options do not ask for it. `InputError` where it cannot work.
    """
    if not options.stop:
        return None
    sets = _sets(options, model, total, cache, context)
    conditions = None if set(trained) - {model.denoiser} else _encoded(sets, model, options.reading)
    steps = check_steps(total, options.batch * options.accumulation)
    found = EarlyStop(model, steps, sets, options.reading, context, conditions)
    found.measure_base()
    return found


def _sets(
    options: TrainingOptions, model: Model, total: int, cache: Cache, context: Context
) -> dict[str, Sequence[Subject]]:
    """Return the sets of pictures by name."""
    datasets = [Manifest.load(each.manifest) for each in (options.dataset, *options.more_datasets)]
    pictures = [(each, own_captions(of) or options.captions) for of in datasets for each in of.training]
    held_out = [(each, own_captions(of) or options.captions) for of in datasets for each in of.held_out]
    _require_evidence(options, total, len(held_out))
    for part in (model.denoiser, *model.text_encoders):
        model.part(part)  # parts that are loaded in inference mode cannot be trained
    captions = [how.canonical(picture.caption) for picture, how in pictures]
    word = trigger_word(options.settings("fp32"), captions)
    scenes = [without_word(caption, word) for caption in evenly_spaced(captions, PICTURES)]
    seen = {"held_out": _subjects(held_out, cache, model)} if len(held_out) >= LEAST_HELD_OUT else {}
    drift = _made_by_base(model, scenes, options, datasets[0].resolution, context.check)
    return {"fit": _subjects(pictures, cache, model), **seen, "drift": drift}


def _require_evidence(options: TrainingOptions, total: int, held_out: int) -> None:
    """Raise `InputError` if the training is too short, or cannot drift and has too few held-out pictures."""
    seen = options.batch * options.accumulation
    checks = len(check_steps(total, seen))
    if checks < LEAST_CHECKS:
        least = next(each for each in itertools.count(total) if len(check_steps(each, seen)) >= LEAST_CHECKS)
        what = f"{total} steps are too few to see a turn in: {LEAST_CHECKS} checks are needed, {checks} would be made."
        raise InputError(what, where="stop", cure=f"Take stop away, or train for {least} steps or more.")
    if options.rates_in_use == {"embedding"} and held_out < LEAST_HELD_OUT:
        what = f"a word alone changes no picture that does not say it, and {held_out} pictures are held out: nothing tells."
        cure = f"Hold out {LEAST_HELD_OUT} (held_out in prepare), or take stop away."
        raise InputError(what, where="stop", cure=cure)


def _subjects(pictures: Sequence[tuple[Picture, Captioning]], cache: Cache, model: Model) -> list[Subject]:
    """Return evenly spaced pictures for the checks."""
    return [subject_of(picture, cache, model, how) for picture, how in evenly_spaced(pictures, PICTURES)]


def _encoded(sets: Mapping[str, Sequence[Subject]], model: Model, reading: TextReading) -> dict[str, Condition]:
    """Return the condition of every caption."""
    texts = dict.fromkeys(subject.caption for subjects in sets.values() for subject in subjects)
    with torch.inference_mode():
        return {text: model.encode_text([text], reading) for text in texts}


def _made_by_base(
    model: Model, captions: Sequence[str], options: TrainingOptions, size: Pair, check: Callable[[], None]
) -> list[Subject]:
    """Sample pictures of these captions with the base, as latents."""
    cfg = cast("Family", options.dataset.base).usual_cfg()
    how = options.reading
    recipe = SamplingOptions(size, SAMPLING_STEPS, cfg, max_tokens=how.max_tokens, clip_skip=how.clip_skip)
    sampler = Sampler(model, recipe)
    sizes = model.size_conditioning(recipe.size, (0, 0), recipe.size)
    with torch.inference_mode():
        sampler.read(captions)
        latents = sampler.latents(captions, range(len(captions)), check).float().cpu()
    return [
        Subject(latent, caption, seed_of("drift", place), sizes)
        for place, (latent, caption) in enumerate(zip(latents, captions, strict=True))
    ]
