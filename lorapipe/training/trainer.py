"""The trainer: the job of a `train` stage, from options to weights.

`Trainer.build` assembles the parts: pictures, base model, conditions, objective. `Trainer.steps` attaches the adapter to
the model and yields each optimizer step; it writes snapshots, checkpoints and previews when the monitor says that they
are due. `Trainer.publish` links the files into the stage's output folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Self, cast

from lorapipe.errors import InputError, Interrupted
from lorapipe.evaluation.sampler import SamplingOptions
from lorapipe.formats import Format
from lorapipe.models import Family, Model
from lorapipe.pipeline.artifacts import Dataset, Snapshot, Weights
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import METRICS
from lorapipe.training import conditions, loop, snapshots
from lorapipe.training.adapters import Attachable, Attached
from lorapipe.training.checkpointing import chosen_blocks
from lorapipe.training.cuda_graphs import passes_of
from lorapipe.training.data.batches import Batches
from lorapipe.training.data.cache import Remembered
from lorapipe.training.data.training_set import load_training_set
from lorapipe.training.data_loader import DataLoader, TrainingLength
from lorapipe.training.data_parallel import DataParallel
from lorapipe.training.device import Compute, memory_explained
from lorapipe.training.distributed_launch import launched
from lorapipe.training.early_stop import EarlyStop, early_stop
from lorapipe.training.ema import ExponentialMovingAverage
from lorapipe.training.initial_weights import initialise_from
from lorapipe.training.model_contexts import attached, deterministic_kernels, gradient_checkpointing
from lorapipe.training.monitor import Milestones, Monitor
from lorapipe.training.optimizers import Optimizer, averaged_weights
from lorapipe.training.options import Graphs, TrainingOptions
from lorapipe.training.param_groups import grouped
from lorapipe.training.previews import Previews
from lorapipe.training.publish import publish_training
from lorapipe.training.record import record_of
from lorapipe.training.resume_state import Checkpoints, Trainable
from lorapipe.training.schedulers import Scheduler
from lorapipe.training.snapshots import SnapshotWriter
from lorapipe.training.training_continuation import adopt_state, end_of, keep_state
from lorapipe.training.working_copy import with_copies
from lorapipe.training_record import TrainingRecord


@dataclass(frozen=True)
class Adaptation:
    """The adapter, its snapshots' format and dtype, the learning rate of each part, and options of the forward pass."""

    adapter: Attachable
    format: Format
    dtype: str
    rates: dict[str, float]
    seed: int
    start_from: Path | None
    gradient_checkpointing: bool | tuple[str, ...]
    graphs: Graphs
    deterministic: bool

    @contextmanager
    def applied(self, model: Model) -> Iterator[Attached]:
        """Attach the adapter to the model; on exit, also after an error, the model is restored."""
        with (
            deterministic_kernels(self.deterministic),
            gradient_checkpointing(model, self.gradient_checkpointing),
            attached(self.adapter, model, list(self.rates), self.seed) as adapter,
        ):
            if self.start_from is not None:
                initialise_from(self.start_from, adapter, model)
            yield adapter


@dataclass(frozen=True)
class Optimization:
    """The optimizer, its learning rate schedule, limits on gradients (clipping) and weights (0: none), an EMA's decay."""

    optimizer: Optimizer
    scheduler: Scheduler
    max_grad_norm: float
    max_weight_norm: float
    ema: float | None = None


@dataclass(frozen=True)
class Trainer:
    """A training with all its parts. `launch` starts the processes for further devices; `early_stop` is rank 0's."""

    context: Context
    dataset: Dataset
    model: Model
    loader: DataLoader
    objective: loop.Objective
    adaptation: Adaptation
    optimization: Optimization
    milestones: Milestones
    record: TrainingRecord
    previews: Previews
    launch: Callable[[], AbstractContextManager[DataParallel]]
    early_stop: EarlyStop | None = None

    @classmethod
    def build(cls, options: TrainingOptions, context: Context, parallel: DataParallel | None = None) -> Self:
        """Assemble a training. `parallel` is this process's rank if another process has launched it."""
        with memory_explained():
            return cls._build(options, context, parallel)

    @classmethod
    def _build(cls, options: TrainingOptions, context: Context, parallel: DataParallel | None) -> Self:
        base, cache = cast("Family", options.dataset.base), Remembered(context.cache)
        compute = Compute.of(context.device, options.precision)
        pictures = load_training_set(
            (options.dataset, *options.more_datasets), options.regularisation, options.captions,
            options.prior_loss_weight, cache, compute.device, context, options.generated_weight,
        )  # fmt: skip
        model = compute.model(base, context.model_cache)
        if problems := list(options.weighting.problems_with(model.diffusion.prediction)):
            raise InputError(problems)
        rates = options.rates(model.roles)
        if not rates:
            raise InputError("every part of this base has the rate 0.", where="unet_lr", cure="Give one a rate.")
        batches = Batches(pictures.all, options.batch, options.seed, pictures.weights)
        length = TrainingLength(batches, options.accumulation, options.steps)
        total, per_epoch = length.total, length.per_epoch

        watched = None if parallel else early_stop(options, model, total, rates, cache, context)
        captions = [picture.caption for picture in pictures.all]
        conditions.warn_of_truncation(options.captions, captions, options.max_tokens, context)
        for word in options.words:
            conditions.require_word(word.trigger, options.captions, pictures, context)
        is_live = bool(rates.keys() - {model.denoiser})
        condition = conditions.text_condition(
            conditions.caption_sampler(options.captions, pictures, length, options.seed, is_live),
            captions, model,
            options.reading,
            lambda: conditions.text_encoder_digest(base, model, compute.dtype, cache), cache, context,
        )  # fmt: skip
        warmup = options.scheduler.warmup.steps(total, per_epoch)
        record = record_of(model, base, pictures, length, options.settings(compute.dtype), rates, warmup)
        record.save(context.out / "training.json")
        adopt_state(None if parallel else options.resume_from, record, context)
        launch = partial(launched, partial(_train_rank, options), context, parallel)
        return cls(
            context=context,
            dataset=options.dataset,
            model=model,
            loader=DataLoader(length, cache, conditions.with_size_conditioning(model, condition)),
            objective=_objective(options, model, is_live),
            adaptation=Adaptation(
                options.trained, Format.default(options.adapter.snapshot_format)(), options.adapter.snapshot_dtype,
                rates, options.seed,
                options.start_from.path if options.start_from else None,
                chosen_blocks(options, pictures, context, compute.device), options.graphs, options.deterministic,
            ),
            optimization=Optimization(
                options.optimizer, options.scheduler, options.max_grad_norm, options.scale_weight_norms, options.ema
            ),
            milestones=_milestones(options, length),
            record=record,
            previews=Previews(
                model, options.preview_prompts, SamplingOptions(pictures.resolution, cfg=base.usual_cfg(), **record.reading),
                rates, context,
            ),
            launch=launch,
            early_stop=watched,
        )  # fmt: skip

    @property
    def length(self) -> TrainingLength:
        """The length in steps and epochs."""
        return self.loader.length

    def steps(self) -> Iterator[loop.Step]:
        """Train, one optimizer step for each `next`. Raises `Interrupted` when asked to stop, after saving the state."""
        with memory_explained(), self.adaptation.applied(self.model) as adapter, self.launch() as parallel:
            how = self.optimization
            trainable = grouped(adapter, self.record.rates, how.optimizer, self.model, how.max_grad_norm)
            if how.ema is not None:
                trainable = replace(trainable, ema=ExponentialMovingAverage(trainable.parameters, how.ema))
            if adapter.steps_apart and parallel.world_size > 1:
                what = (
                    "fused_backward and weights: bf16 are for one device: there is no step at which devices could meet."
                )
                raise InputError(what, where="adapter", cure="Take them away, or train on one device.")
            if parallel.rank == 0:
                yield from self._monitored(adapter, trainable, parallel)
            else:  # rank 0 alone logs and saves
                done = Checkpoints(self.context.resume / "checkpoints").load(trainable).step
                adapter.refresh()
                yield from self._loop(adapter, trainable, parallel, done)

    def _monitored(self, adapter: Attached, trainable: Trainable, parallel: DataParallel) -> Iterator[loop.Step]:
        """Yield the steps of rank 0, and do what is due after each."""
        context, optimizer = self.context, self.optimization.optimizer
        format, dtype = self.adaptation.format, self.adaptation.dtype
        writer = SnapshotWriter(adapter, self.model, self.record, self.length, context.resume, format, dtype)
        monitor = Monitor(context.resume, self.milestones, trainable, optimizer, context.emit, context.stopping)
        adapter.refresh()
        ended = self.early_stop is not None and self.early_stop.resume(monitor.checks)
        steps = iter(()) if ended else self._loop(adapter, trainable, parallel, monitor.done)
        with closing(monitor.follow(steps)) as followed:
            for step, due in followed:
                end = self._is_to_stop(step.step, adapter, trainable)
                if due.snapshot or end:
                    with _saved_weights(adapter, trainable):
                        monitor.check_weights(step.step)
                        monitor.keep(writer.write(step.step))
                if due.checkpoint or end:
                    monitor.save(step.step, self.early_stop.state if self.early_stop else ())
                if due.stop:
                    at = f"step {step.step} of {self.milestones.total}"
                    raise Interrupted(f"Stopped after {at}; run the same command again to resume.")
                if due.preview:
                    with _saved_weights(adapter, trainable):
                        self.previews.paint(step.step)
                yield step
                if end:
                    break

    def _is_to_stop(self, step: int, adapter: Attached, trainable: Trainable) -> bool:
        """Check the training after `step`, where that is due; whether it is to stop, or ends there."""
        if step == self.milestones.end:
            return True
        if self.early_stop is None or step not in self.early_stop.steps:
            return False
        with _saved_weights(adapter, trainable):
            return self.early_stop.check(step)

    def _loop(self, adapter: Attached, trainable: Trainable, parallel: DataParallel, done: int) -> Iterator[loop.Step]:
        """Return the steps after the first `done`."""
        how, total, per_epoch = self.optimization, self.length.total, self.length.per_epoch
        return loop.train(
            islice(replace(self.loader, parallel=parallel).updates(done), max(0, self.milestones.last - done)),
            self.objective,
            trainable.optimizer,
            lambda step: how.scheduler.factor(step, total, per_epoch),
            max_grad_norm=0.0 if adapter.steps_in_backward else how.max_grad_norm,
            scaler=trainable.scaler,
            constrain=partial(_after_step, adapter, how.max_weight_norm, trainable),
            parallel=parallel,
            passes=self._passes(adapter, trainable, (self.milestones.last - done) * self.length.accumulation),
        )

    def _passes(self, adapter: Attached, trainable: Trainable, expected: int) -> loop.Passes:
        """Return what runs the passes, of which there will be `expected`."""
        passes = passes_of(
            self.adaptation.graphs, self.model, adapter, self.adaptation.rates, expected, self.context.emit,
            checkpoints=bool(self.adaptation.gradient_checkpointing),
        )  # fmt: skip
        return with_copies(passes, adapter, chain.from_iterable(trainable.parameters.values()), self.model.dtype)

    def publish(self) -> Weights:
        """Publish all files of the completed training."""
        out, end = self.context.out, self.milestones.end
        stopped = self.early_stop.stopped_at if self.early_stop else None
        made = replace(self.milestones, end=stopped or end).made
        publish_training(self.context, {out / snapshots.file_name(step) for step in made})
        if self.early_stop:
            self.early_stop.save(self.milestones.total)
        if last := stopped or end:
            why = self.early_stop.reason if self.early_stop else None
            replace(self.record, steps=last, stopped=why or "").save(out / "training.json")
        return Weights(
            snapshots=tuple(
                Snapshot(step, self.length.epoch(step), out / snapshots.file_name(step)) for step in sorted(made)
            ),
            dataset=self.dataset,
            training=out / "training.json",
            log=out / METRICS,
            state=keep_state(self.context) if end is not None else None,
        )


def _objective(options: TrainingOptions, model: Model, is_live: bool) -> loop.Objective:
    """Return the objective; `is_live`: captions are encoded in each pass."""
    encode = partial(model.encode_tokens, reading=options.reading) if is_live else None
    return loop.Objective(model, options.loss, options.weighting, options.noise.draw, options.seed, encode)


def _milestones(options: TrainingOptions, length: TrainingLength) -> Milestones:
    total, per_epoch = length.total, length.per_epoch
    previews = options.previews.steps(total, per_epoch) if options.preview_prompts else frozenset[int]()
    return Milestones(total, options.snapshots.steps(total, per_epoch), previews, end_of(options.until, length))


def _after_step(adapter: Attached, max_weight_norm: float, trainable: Trainable) -> None:
    if trainable.addresses is not None:
        trainable.addresses.check()
    adapter.constrain()
    if max_weight_norm:
        adapter.limit_norms(max_weight_norm)
    if trainable.ema is not None:
        trainable.ema.update()


@contextmanager
def _saved_weights(adapter: Attached, trainable: Trainable) -> Iterator[None]:
    """Set the weights to those that are saved, which may be an average over steps, inside the context."""
    with (
        averaged_weights(trainable.optimizer),
        trainable.ema.applied(adapter.refresh) if trainable.ema else nullcontext(),
    ):
        yield


def _train_rank(options: TrainingOptions, context: Context, parallel: DataParallel) -> None:
    """Train in a process that rank 0 has launched."""
    for _ in Trainer.build(options, context, parallel).steps():
        pass
