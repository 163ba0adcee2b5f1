"""What `train` does once its knobs are read: the base, the adapter in it, what they are fed with, and the steps."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, cast

from lorapipe.errors import InputError
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log
from lorapipe.stages import _beginning, _feeding, _outputs, _train_checks
from lorapipe.stages._outputs import Outputs
from lorapipe.stages._together import team_for
from lorapipe.stages._train_warnings import warnings

if TYPE_CHECKING:
    from lorapipe.models import Family
    from lorapipe.stages.train import Train
    from lorapipe.training.data_loader import TrainingLength
    from lorapipe.training.data_parallel import DataParallel
    from lorapipe.training.loop import Step
    from lorapipe.training.resume_state import Trainable


def share_of(train: Train, context: Context, team: DataParallel | None = None) -> Generator[Step, None, TrainingLength]:
    """The steps of a training, or a member's share of them; a team is made where the device is more than one."""
    from lorapipe.training import device
    from lorapipe.training.data.batches import Batches
    from lorapipe.training.data.cache import Remembered
    from lorapipe.training.data_loader import DataLoader, TrainingLength, with_size_conditioning
    from lorapipe.training.model_contexts import attached, compiled, recomputed

    bases = [cast("Family", each.base) for each in train.datasets]
    if problems := [*_train_checks.problems_with(train, bases), *_train_checks.problems_with_vocabulary(bases[0])]:
        raise InputError(problems)
    where = device.resolve(context.device)
    dtype = device.dtype(train.precision, where)
    base, cache = bases[0], Remembered(context.cache)
    with device.memory_explained():
        material = _feeding.material(train, cache, where, context)
        model = context.warm.get(device.warm_key(base, where, dtype), lambda: base.load(where, dtype))
        if problems := list(_train_checks.problem_with_prediction(train, model.diffusion.prediction)):
            raise InputError(problems)
        rates = train.rates(model.trainable)
        if not rates:
            raise InputError("every part of this base has the rate 0.", where="unet_lr", cure="Give one a rate.")
        batches = Batches(material.all, train.batch, train.seed, material.weights)
        course = TrainingLength(batches, train.accumulation, train.steps)
        condition = _feeding.condition(train, material, model, rates, course, dtype, cache, context)
        for text in warnings(train, course.total, course.per_epoch):
            context.emit(Log(text=text, level="warning"))
        warmup = train.scheduler.warmup.steps(course.total, course.per_epoch)
        settings = train.settings(dtype)
        record = _outputs.record(model, base, material, course, settings, rates=rates, warmup_steps=warmup)
        record.save(context.out / "training.json")
        adapters = attached(train.adapter, model, list(rates), train.seed)
        joining = team_for(train, context) if team is None else nullcontext(team)
        with (
            recomputed(model, train.gradient_checkpointing),
            adapters as adapter,
            compiled(model, train.compile),
            joining as together,
        ):
            if train.start_from:
                _beginning.put_in(train.start_from.path, adapter, model)
            feed = DataLoader(course, cache, with_size_conditioning(model, condition), together)
            yield from _followed(train, Outputs(base, model, adapter, feed, record, context))
    return course


def _followed(train: Train, outputs: Outputs) -> Iterator[Step]:
    from lorapipe.training.monitor import Marks, Monitor
    from lorapipe.training.param_groups import grouped
    from lorapipe.training.resume_state import Checkpoints

    context, course = outputs.context, outputs.feed.length
    trainable = grouped(outputs.adapter, outputs.record.rates, train.optimizer, outputs.model)
    if outputs.feed.parallel.rank:  # the first process keeps the books
        found = Checkpoints(context.resume / "checkpoints").load(trainable)
        return _steps(train, outputs, trainable, found.step)
    total, per_epoch = course.total, course.per_epoch
    previews = train.previews.steps(total, per_epoch) if train.preview_prompts else frozenset()
    session = Monitor(
        folder=context.resume,
        total=total,
        marks=Marks(train.snapshots.steps(total, per_epoch), previews),
        trainable=trainable,
        estimates=lambda: train.optimizer.estimates(trainable.optimizer),
        snapshot=outputs.snapshot,
        preview=lambda step: outputs.preview(step, train.preview_prompts),
        emit=context.emit,
        stopping=context.stopping,
    )
    return session.follow(_steps(train, outputs, trainable, session.begin()))


def _steps(train: Train, outputs: Outputs, trainable: Trainable, done: int) -> Iterator[Step]:
    from lorapipe.training import loop

    feed, limit = outputs.feed, train.scale_weight_norms
    total, per_epoch = feed.length.total, feed.length.per_epoch
    return loop.train(
        feed.updates(done),
        loop.Objective(outputs.model, train.loss, train.weighting, train.noise.draw, train.seed),
        trainable.optimizer,
        lambda step: train.scheduler.factor(step, total, per_epoch),
        max_grad_norm=train.max_grad_norm,
        scaler=trainable.scaler,
        constrain=partial(outputs.adapter.limit_norms, limit) if limit else None,
        parallel=feed.parallel,
    )
