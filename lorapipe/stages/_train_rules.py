"""Settings of a training that are valid alone, but cannot work together: each function yields a `Problem`.

What can work but is probably not meant is told by `lorapipe.rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from lorapipe import rules
from lorapipe.errors import InputError, Problem, near_miss
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.rules import Facts, Rule
from lorapipe.spec import Ref
from lorapipe.training.caption_augment import FROZEN_ENCODER
from lorapipe.training.options import RATES, TrainingOptions

if TYPE_CHECKING:
    from lorapipe.models import Family
    from lorapipe.stages import Stage


def check(train: TrainingOptions) -> None:
    """Raise `InputError` if the datasets, whose bases are known now, do not fit the settings or each other."""
    bases = [cast("Family", dataset.base) for dataset in train.datasets]
    if found := [*problems_with_bases(train, bases), *_no_vocabulary(bases[0])]:
        raise InputError(found)


# ------------------------------------------------------------------------------------------------------------- errors


def problems(train: TrainingOptions) -> Iterator[Problem]:
    """Yield problems of the settings that are independent of the datasets."""
    rates = train.rates_by_option()
    yield from rules.problems(train, Facts(), "error")
    yield from _unknown_rules(train)
    yield from _nothing_trained(train, rates)
    yield from _several_rates(train, rates)
    yield from _initial_weights(train)
    yield from _token_warmup(train, rates)
    yield from _prior_loss(train)
    yield from _averaged_weights(train)
    yield from _ignored_rates(train, rates)
    yield from _misleading_warmup(train)
    yield from _words(train)
    yield from _unused_rates(train)
    yield from _in_place(train)
    yield from _fused_backward(train)
    yield from _graphs(train)
    yield from _ends_before(train)


def problems_with_bases(train: TrainingOptions, bases: Sequence[Family | None]) -> Iterator[Problem]:
    """Yield problems of the settings with the bases of the datasets; a base that is unknown yet is None."""
    base = bases[0]
    yield from _different_bases(train, bases)
    if base is not None:
        yield from _unlike_base(train, base)


def bases_among(train: TrainingOptions, stages: Mapping[str, Stage]) -> Iterator[Family | None]:
    """Yield the base of each dataset, from the stage that makes it; None if unknown."""
    for dataset in train.datasets:
        yield getattr(made_by(dataset, stages), "base", None)


def made_by(dataset: Dataset | Ref, stages: Mapping[str, Stage]) -> Stage | None:
    """Return the stage that makes a dataset; None if the dataset exists already, or is part of a result."""
    return stages.get(dataset.stage) if isinstance(dataset, Ref) and not dataset.fields else None


def _unknown_rules(train: TrainingOptions) -> Iterator[Problem]:
    for place, name in enumerate(train.allow):
        if name not in Rule.registry:
            yield Problem(f"there is no rule {name!r}.", cure=near_miss(name, rules.names()), path=("allow", place))


def _nothing_trained(train: TrainingOptions, rates: Mapping[str, float]) -> Iterator[Problem]:
    if not rates and train.rates_in_use == {"embedding"}:
        yield Problem("the word would learn nothing.", cure="Give a rate above 0.", path=("embedding_lr",))
    elif not rates:
        cure = "Give the denoiser (unet_lr) or the text encoder a rate above 0, or leave one of them empty."
        yield Problem("both learning rates are 0: nothing would be trained.", cure=cure, path=("unet_lr",))


def _several_rates(train: TrainingOptions, rates: Mapping[str, float]) -> Iterator[Problem]:
    """Yield problems of different rates with an optimizer that estimates one step size for everything."""
    if train.optimizer.one_rate and train.optimizer.follows_rate and len(set(rates.values())) > 1:
        what = f"{train.optimizer.name} finds one step size for all parts and cannot give them different rates."
        cure = "Make both rates equal (1.0), or set one of them to 0."
        yield Problem(what, cure=cure, path=("text_encoder_lr",))
    if train.optimizer.one_rate and train.adapter.has_rates_of_its_own:
        what = f"{train.optimizer.name} finds one step size for all, and the adapter asks for several."
        yield Problem(what, cure="Remove lora_plus and block_rates, or use another optimizer.", path=("adapter",))


def _initial_weights(train: TrainingOptions) -> Iterator[Problem]:
    if train.start_from is not None:
        from lorapipe.formats import complaints

        file = train.start_from.path
        yield from (replace(each, what=f"{file.name} {each.what}", path=("start_from",)) for each in complaints(file))


def _token_warmup(train: TrainingOptions, rates: Mapping[str, float]) -> Iterator[Problem]:
    if train.captions.token_warmup_step.count and all(RATES[option] == "denoiser" for option in rates):
        yield replace(FROZEN_ENCODER, path=("captions", "token_warmup_step"))


def _prior_loss(train: TrainingOptions) -> Iterator[Problem]:
    if train.prior_loss_weight != 1 and train.regularisation is None:
        what = "there are no regularisation pictures for it to weigh."
        yield Problem(what, cure="Name them as regularisation, or remove it.", path=("prior_loss_weight",))


def _averaged_weights(train: TrainingOptions) -> Iterator[Problem]:
    if train.optimizer.averages and train.scale_weight_norms:
        what = f"{train.optimizer.name} keeps its own average of the weights, which this limit does not change."
        yield Problem(what, cure="Set it to 0, or use another optimizer.", path=("scale_weight_norms",))
    if train.optimizer.averages and train.ema is not None:
        what = f"{train.optimizer.name} keeps an average of its own, and saves that."
        yield Problem(what, cure="Take ema away, or use another optimizer.", path=("ema",))


def _ignored_rates(train: TrainingOptions, rates: Mapping[str, float]) -> Iterator[Problem]:
    """Yield rates and schedules that an optimizer with its own schedule ignores."""
    if train.optimizer.follows_rate:
        return
    who = f"{train.optimizer.name} has its own rate and schedule"
    for option, rate in rates.items():
        if rate != train.usual_rate(option):
            cure = "Leave the rate empty, or switch the optimizer's own schedule off (relative_step: false)."
            yield Problem(f"{who}: a rate of {rate:g} would change nothing.", cure=cure, path=(option,))
    if train.scheduler.name != "constant" or train.scheduler.warmup.count:
        cure = "Use the constant scheduler, or switch the optimizer's own schedule off (relative_step: false)."
        yield Problem(f"{who}: {train.scheduler.name} would change nothing.", cure=cure, path=("scheduler",))


def _misleading_warmup(train: TrainingOptions) -> Iterator[Problem]:
    optimizer = train.optimizer
    if optimizer.follows_rate and train.scheduler.warmup.count and not optimizer.warms_up:
        what = f"the small rates of a warm-up mislead {optimizer.name} about its step size."
        cure = "Write safeguard_warmup: true in the optimizer, or remove the warm-up."
        yield Problem(what, cure=cure, path=("optimizer",))


def _words(train: TrainingOptions) -> Iterator[Problem]:
    """Yield problems of settings of an embedding, and of settings that have no effect on one."""
    if train.embedding and "embedding" in train.adapter.trains:
        what = "the adapter is an embedding already."
        yield Problem(what, cure="Remove one of the two.", path=("embedding",))
    if train.embedding and train.rate("embedding_lr") == 0:
        yield Problem(
            "the word would learn nothing.", cure="Remove embedding, or give a rate above 0.", path=("embedding_lr",)
        )
    if train.scale_weight_norms and not train.adapter.has_norms:
        what = f"{train.adapter.name} has no modules whose norm it could limit."
        yield Problem(what, cure="Remove it.", path=("scale_weight_norms",))
    if train.optimizer.averages and any(word.norm for word in train.words):
        what = f"{train.optimizer.name} keeps its own average of the vectors, which a limit on them does not change."
        yield Problem(what, cure="Set norm to 0, or use another optimizer.", path=("optimizer",))


def _unused_rates(train: TrainingOptions) -> Iterator[Problem]:
    """Yield rates of parts that the adapter does not train."""
    for option, role in RATES.items():
        if role not in train.rates_in_use and getattr(train, option):
            what = "no word is learnt" if role == "embedding" else f"{train.adapter.name} does not train this part"
            cure = f"Remove it, or where another file gives it, write {option}: null."
            yield Problem(f"{what}: this rate would change nothing.", cure=cure, path=(option,))


def _in_place(train: TrainingOptions) -> Iterator[Problem]:
    """Yield settings that cannot be combined with training the base's own weights."""
    adapter, optimizer = train.adapter, train.optimizer
    if adapter.in_place and train.embedding is not None:
        what = f"with {adapter.name} the text encoder learns what a word means; vectors beside it are not offered."
        yield Problem(what, cure="Take embedding away, and give text_encoder_lr a rate.", path=("embedding",))
    if adapter.in_place and optimizer.averages:
        what = f"{optimizer.name} keeps an average of its own, for which there is no place beside a base."
        yield Problem(what, cure="Use adamw, adamw8bit or adafactor.", path=("optimizer",))
    elif adapter.steps_apart and not optimizer.per_parameter:
        what = f"{optimizer.name} estimates its step from all gradients at once, and here each weight is stepped alone."
        cure = "Use adamw, adamw8bit, lion or adafactor, or take fused_backward and weights: bf16 away."
        yield Problem(what, cure=cure, path=("optimizer",))
    if adapter.needs_precision and train.precision not in ("auto", adapter.needs_precision):
        what = f"the adapter needs the base in {adapter.needs_precision}."
        yield Problem(what, cure=f"Write precision: {adapter.needs_precision}.", path=("precision",))


def _fused_backward(train: TrainingOptions) -> Iterator[Problem]:
    """Yield settings that need gradients after the backward pass, which `fused_backward` has already freed."""
    adapter = train.adapter
    if adapter.steps_in_backward and train.accumulation > 1:
        what = "fused_backward frees each gradient at once, so that none are left to accumulate."
        yield Problem(what, cure="Write accumulation: 1, or fused_backward: false.", path=("accumulation",))
    if adapter.steps_in_backward and train.precision == "fp16":
        what = (
            "fp16 scales the loss, and skips steps that overflow; fused_backward has stepped before that can be seen."
        )
        yield Problem(what, cure="Write precision: bf16, or fused_backward: false.", path=("precision",))


def _graphs(train: TrainingOptions) -> Iterator[Problem]:
    if train.graphs == "on" and train.adapter.in_place:
        what = f"the gradients of {train.adapter.name} are moved in Python, which a CUDA graph cannot repeat."
        yield Problem(what, cure="Write graphs: auto.", path=("graphs",))


def _different_bases(train: TrainingOptions, bases: Sequence[Family | None]) -> Iterator[Problem]:
    base = bases[0]
    for dataset, other in zip(train.datasets[1:], bases[1:], strict=True):
        if base is not None and other is not None and other != base:
            knob = "regularisation" if dataset is train.regularisation else "more_datasets"
            cure = "Prepare all of them with the same base."
            yield Problem("was prepared for another base than the dataset.", cure=cure, path=(knob,))


def _unlike_base(train: TrainingOptions, base: Family) -> Iterator[Problem]:
    """Yield settings that do not fit the base."""
    yield from base.objections(train.reading)
    yield from (replace(each, path=("adapter", *each.path)) for each in train.adapter.objections(base))
    if train.text_encoder_2_lr is not None and [*base.roles.values()].count("text_encoder") < 2:
        what = f"{base.name} has no second text encoder."
        yield Problem(what, cure="Remove the rate; it is for SDXL.", path=("text_encoder_2_lr",))
    prediction = getattr(base, "prediction", "auto")
    if prediction != "auto":
        yield from train.weighting.problems_with(prediction)


def _no_vocabulary(base: Family) -> Iterator[Problem]:
    """Yield a problem if the base of a dataset has no vocabulary to read captions with. `prepare` reports it earlier."""
    for problem in base.problems_of_captions():
        yield replace(problem, where="", path=("dataset",))


def _ends_before(train: TrainingOptions) -> Iterator[Problem]:
    if train.until is None:
        return
    if train.stop:
        what = "stop: early decides when the training ends, and so does until."
        yield Problem(what, cure="Take one of them away.", path=("until",))
    if train.until.unit == train.steps.unit and train.until.count > train.steps.count:
        what = f"{train.until.plain()} are more than the training has."
        yield Problem(what, cure=f"steps is {train.steps.plain()}: write fewer.", path=("until",))
