"""Settings of a training that are valid alone and wrong together, each with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lorapipe.errors import Problem
from lorapipe.pipeline.artifacts import Dataset, Ref

if TYPE_CHECKING:
    from lorapipe.models import Family
    from lorapipe.stages import Stage
    from lorapipe.stages.train import Train
    from lorapipe.training.caption_augment import Captioning

STEEP = 0.02
"""No optimizer with a fixed rate learns at this rate, and no adaptive one is meant to be damped below it."""

FROZEN = Problem(
    "with a frozen text encoder captions are encoded beforehand, in a fixed number of ways.",
    cure="Train the text encoder, take the token warm-up away, or use tag_dropout.",
)


def problems(train: Train) -> Iterator[Problem]:
    """What is wrong with the settings of a training, beyond each alone."""
    parts = ("unet", "text_encoder") if train.text_encoder_2_lr is None else ("unet", "text_encoder", "text_encoder_2")
    rates = train.rates(parts)
    if not rates:
        cure = "Give the U-Net or the text encoder a rate above 0, or leave one of them empty."
        yield Problem("both learning rates are 0: nothing would be trained.", cure=cure, path=("unet_lr",))
    for part, rate in rates.items():
        yield from _odd_rate(train, part, rate)
    if train.optimizer.one_rate and train.optimizer.follows_rate and len(set(rates.values())) > 1:
        what = f"{train.optimizer.name} finds one step size for all parts and cannot give them different rates."
        cure = "Make both rates equal (1.0), or set one of them to 0."
        yield Problem(what, cure=cure, path=("text_encoder_lr",))
    if train.optimizer.one_rate and train.adapter.has_rates_of_its_own:
        what = f"{train.optimizer.name} finds one step size for all, and the adapter asks for several."
        yield Problem(what, cure="Take lora_plus and block_rates away, or use another optimizer.", path=("adapter",))
    if train.start_from is not None:
        from lorapipe.formats import complaints

        file = train.start_from.path
        yield from (replace(each, what=f"{file.name} {each.what}", path=("start_from",)) for each in complaints(file))
    if train.captions.token_warmup_step.count and not any(part.startswith("text_encoder") for part in rates):
        yield replace(FROZEN, path=("captions", "token_warmup_step"))
    if train.prior_loss_weight != 1 and train.regularisation is None:
        what = "there are no regularisation pictures for it to weigh."
        yield Problem(what, cure="Name them as regularisation, or take it away.", path=("prior_loss_weight",))
    if train.optimizer.averages and train.scale_weight_norms:
        what = f"{train.optimizer.name} keeps an average of its own, which a limit on the weights does not reach."
        yield Problem(what, cure="Set it to 0, or use another optimizer.", path=("scale_weight_norms",))
    if not train.optimizer.follows_rate:
        yield from _rates_in_vain(train, rates)
    elif train.scheduler.warmup.count and not train.optimizer.warms_up:
        what = f"the small rates of a warm-up mislead {train.optimizer.name} about its step size."
        cure = "Write safeguard_warmup: true in the optimizer, or take the warm-up away."
        yield Problem(what, cure=cure, path=("optimizer",))


def problems_with(train: Train, bases: Sequence[Family | None]) -> Iterator[Problem]:
    """What is wrong with the settings for the bases that the datasets were prepared for; None is not known yet."""
    base = bases[0]
    for dataset, other in zip(train.datasets[1:], bases[1:], strict=True):
        if base is not None and other is not None and other != base:
            knob = "regularisation" if dataset is train.regularisation else "more_datasets"
            cure = "Prepare all of them with the same base."
            yield Problem("was prepared for another base than the dataset.", cure=cure, path=(knob,))
    if base is None:
        return
    if train.clip_skip != 1 and not base.reads_any_layer:
        what = f"{base.name} always reads the last layer but one of its text encoder."
        yield Problem(what, cure="Take clip_skip away; it is for SD1.x.", path=("clip_skip",))
    if train.text_encoder_2_lr is not None and "text_encoder_2" not in base.trainable:
        what = f"{base.name} has no second text encoder."
        yield Problem(what, cure="Take the rate away; it is for SDXL.", path=("text_encoder_2_lr",))
    told = getattr(base, "prediction", "auto")
    if told != "auto":
        yield from problem_with_prediction(train, told)


def problems_with_vocabulary(base: Family) -> Iterator[Problem]:
    """That a dataset's base has no vocabulary to read captions with; of a dataset to come, `prepare` tells it."""
    for problem in base.problems_of_captions():
        yield replace(problem, where="", path=("dataset",))


def bases_among(train: Train, stages: Mapping[str, Stage]) -> Iterator[Family | None]:
    """The base of each dataset, where the stage that will make it says so."""
    for dataset in train.datasets:
        yield getattr(made_by(dataset, stages), "base", None)


def made_by(dataset: Dataset | Ref, stages: Mapping[str, Stage]) -> Stage | None:
    """The stage whose result a dataset is; None where it is there already, or a part of a result."""
    return stages.get(dataset.stage) if isinstance(dataset, Ref) and not dataset.fields else None


def problems_with_captions(train: Train, own: Iterable[Captioning], trained: bool) -> Iterator[Problem]:
    """What is wrong with captions of datasets' own; `trained`: a text encoder is."""
    for captioning in own:
        if captioning.weighted != train.captions.weighted:
            what = "a dataset's captions are read with weights and the training's are not, or the other way round."
            yield Problem(what, cure="Write weighted: true in both, or in neither.", path=("captions", "weighted"))
        if captioning.token_warmup_step.count and not trained:
            yield replace(FROZEN, where="captions.token_warmup_step of a dataset")


def problem_with_prediction(train: Train, prediction: str) -> Iterator[Problem]:
    """What is wrong with the settings for a base that turned out to predict this."""
    if train.weighting.predictions is not None and prediction not in train.weighting.predictions:
        wanted = " or ".join(sorted(train.weighting.predictions))
        what = f"{train.weighting.name} is for bases that predict {wanted}; this one predicts {prediction}."
        cure = "Use min_snr or none, or say what the base predicts (prediction, beside its checkpoint)."
        yield Problem(what, cure=cure, path=("weighting",))


def _rates_in_vain(train: Train, rates: Mapping[str, float]) -> Iterator[Problem]:
    """What an optimizer that makes its own schedule would not look at."""
    who = f"{train.optimizer.name} makes its own rate and schedule"
    for part, rate in rates.items():
        if rate != train.usual_rate(part):
            cure = "Leave the rate empty, or take the optimizer's own schedule away (relative_step: false)."
            yield Problem(f"{who}: a rate of {rate:g} would change nothing.", cure=cure, path=(f"{part}_lr",))
    if train.scheduler.name != "constant" or train.scheduler.warmup.count:
        cure = "Use the constant scheduler, or take the optimizer's own schedule away (relative_step: false)."
        yield Problem(f"{who}: {train.scheduler.name} would change nothing.", cure=cure, path=("scheduler",))


def _odd_rate(train: Train, part: str, rate: float) -> Iterator[Problem]:
    usual, name = train.usual_rate(part), train.optimizer.name
    if not train.optimizer.follows_rate:
        return
    if train.optimizer.adaptive and rate < STEEP:
        what = f"{rate:g} is a rate for another optimizer: {name} finds its own step size, this is a factor on it."
        yield Problem(what, cure=f"Leave it empty, or write about {usual:g}.", path=(f"{part}_lr",))
    if not train.optimizer.adaptive and rate >= STEEP:
        what = f"{rate:g} would destroy the adapter within a few steps: {name} takes its rate as it is."
        yield Problem(what, cure=f"Leave it empty, or write about {usual:g}.", path=(f"{part}_lr",))
