"""`tune:` in a pipeline: which training is tuned, by which settings, and for how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lorapipe.errors import Problem, listed, near_miss, shortened
from lorapipe.pipeline import references
from lorapipe.pipeline.artifacts import Captions, Report
from lorapipe.spec import Duration, Knob, Ref, Spec, knobs, param
from lorapipe.stages import Stage

TUNE = "tune"
USUAL = (
    "unet_lr", "text_encoder_lr", "text_encoder_2_lr", "optimizer.d_coef", "steps", "adapter.rank", "captions.dropout"
)  # fmt: skip
"""The settings that a verdict names: those of them that a stage has are free where none are given."""
CAPTIONS_FROM = "captions_from"
"""The setting of the train stage's dataset that takes a caption stage's captions."""


@dataclass(frozen=True)
class TuneOptions(Spec):
    """Tuning: the training is run again with the settings that its verdict names, until it is good at strength 1."""

    stage: str = param("", "the train stage to tune; empty: the only one that an evaluate stage judges")
    free: tuple[str, ...] = param(
        (),
        "settings of that stage that may change: [unet_lr, text_encoder_lr, steps, adapter.rank]; all others stay as they "
        "are written. Empty: those that verdicts name, which are the rates, steps, rank and caption dropout",
    )
    captions: str = param(
        "",
        "a caption stage whose captions the dataset takes instead of its own when the LoRA leaks, which is to paint unasked "
        "what all its pictures share: one with a tagger and `existing: extend` says what the pictures show and the captions "
        "do not. Empty: captions stay as they are",
    )
    rounds: int = param(5, "most rounds, the first with the pipeline's own settings", ge=1, le=100)
    hours: float | None = param(
        None,
        "begin no round that would end after so many hours of computing, judged by the last; empty: no such limit",
        gt=0,
        le=10_000,
    )


@dataclass(frozen=True)
class Tunable:
    """What a tuning is of: the train stage, the evaluate stages that judge it, and the free settings.

    `dataset` is the prepare stage that takes the captions of stage `captions` when the LoRA leaks; without such, both are
    empty.
    """

    stage: str
    judges: tuple[str, ...]
    free: frozenset[str]
    captions: str = ""
    dataset: str = ""


def knob_at(spec: Spec, name: str) -> Knob | None:
    """Return the knob of a spec by its dotted name (`adapter.rank`), None if this spec has none such."""
    first, _, rest = name.partition(".")
    knob = next((each for each in knobs(type(spec)) if each.name == first), None)
    if not rest or knob is None:
        return knob
    inner = getattr(spec, first)
    return knob_at(inner, rest) if isinstance(inner, Spec) else None


def is_number(knob: Knob) -> bool:
    """Whether a knob is a number, or a length of training."""
    return knob.shape.kind in ("integer", "number") or knob.type is Duration


def tunable(options: TuneOptions, stages: Mapping[str, Stage]) -> Tunable:
    """Return what is to be tuned; `problems` must have found nothing."""
    name = options.stage or _candidates(stages)[0]
    stage = stages[name]
    fixed = "adapter." if getattr(stage, "start_from", None) is not None else "-"
    usual = (each for each in USUAL if knob_at(stage, each) is not None and not each.startswith(fixed))
    free = options.free or tuple(usual)
    dataset = _dataset_of(stage) if options.captions else ""
    return Tunable(name, tuple(judges_of(name, stages)), frozenset(free), options.captions, dataset)


def problems(options: TuneOptions, stages: Mapping[str, Stage]) -> Iterator[Problem]:
    """Yield what is wrong with a tuning of these stages; the paths begin below `tune`."""
    found = _candidates(stages)
    if options.stage and options.stage not in found:
        yield _wrong_stage(options.stage, stages, found)
        return
    if not options.stage and len(found) != 1:
        yield _no_single_stage(stages, found)
        return
    name = options.stage or found[0]
    yield from _wrong_settings(options, stages[name], name)
    yield from _wrong_captions(options.captions, name, stages)
    for judge in judges_of(name, stages):
        if 1.0 not in getattr(stages[judge], "strengths", (1.0,)):
            what = f"{judge} does not sample strength 1, at which the LoRA is to be good."
            yield Problem(what, cure=f"Add 1.0 to its strengths, as in `{judge}: {{strengths: [0.7, 1.0]}}`.")


def _dataset_of(stage: Stage) -> str:
    """The stage that makes the dataset of a train stage; empty where none does."""
    dataset = getattr(stage, "dataset", None)
    return dataset.stage if isinstance(dataset, Ref) else ""


def _wrong_captions(captions: str, name: str, stages: Mapping[str, Stage]) -> Iterator[Problem]:
    """Yield what keeps the dataset of train stage `name` from taking the captions of stage `captions`."""
    if not captions:
        return
    if captions not in stages:
        what = f"there is no stage {shortened(captions, 100)!r}."
        cure = near_miss(captions, [each for each, stage in stages.items() if issubclass(stage.makes, Captions)])
    elif not issubclass(stages[captions].makes, Captions):
        what = f"{captions} makes no captions."
        cure = "Name a caption stage: `tags: {uses: caption, images: …, tagger: …, existing: extend}`."
    else:
        what, cure = _unable_to_take(stages.get(_dataset_of(stages[name])), captions, stages)
    if what:
        yield Problem(what, cure=cure, path=("captions",))


def _unable_to_take(dataset: Stage | None, captions: str, stages: Mapping[str, Stage]) -> tuple[str, str]:
    """What keeps a dataset from taking the captions of a stage, and the cure; nothing if it can."""
    if dataset is None or knob_at(dataset, CAPTIONS_FROM) is None:
        return "the training has no dataset that could take other captions.", "Take it away."
    if getattr(dataset, CAPTIONS_FROM) is not None:
        return f"the dataset has {CAPTIONS_FROM} already.", "Take one of them away."
    _, cycle = references.in_order(
        {each: (*references.needs(stage), *([captions] if stage is dataset else ())) for each, stage in stages.items()}
    )
    return (
        (f"{captions} needs the dataset that is to take its captions.", "Caption the pictures.") if cycle else ("", "")
    )


def _candidates(stages: Mapping[str, Stage]) -> list[str]:
    """The train stages that something judges."""
    return [name for name, stage in stages.items() if stage.trains and judges_of(name, stages)]


def judges_of(name: str, stages: Mapping[str, Stage]) -> list[str]:
    """The stages that make a report of the weights of stage `name`."""
    of_reports = {judge: stage for judge, stage in stages.items() if issubclass(stage.makes, Report)}
    return [judge for judge, stage in of_reports.items() if _is_of(stage, name)]


def _is_of(stage: Stage, name: str) -> bool:
    return name in references.needs(stage) and getattr(getattr(stage, "weights", None), "stage", name) == name


def _wrong_stage(name: str, stages: Mapping[str, Stage], found: list[str]) -> Problem:
    if name not in stages:
        what, cure = f"there is no stage {shortened(name, 100)!r}.", near_miss(name, [*stages])
    elif not stages[name].trains:
        what, cure = f"{name} trains nothing.", f"Name one of {listed(found)}." if found else "Name a train stage."
    else:
        what, cure = f"nothing judges {name}.", f"Add `grid: {{uses: evaluate, weights: ${name}}}`."
    return Problem(what, cure=cure, path=("stage",))


def _no_single_stage(stages: Mapping[str, Stage], found: list[str]) -> Problem:
    if found:
        what = f"{len(found)} trainings are judged here: {listed(found)}."
        return Problem(what, cure=f"Say which is tuned: `tune: {{stage: {found[0]}}}`.")
    trains = [name for name, stage in stages.items() if stage.trains]
    if not trains:
        return Problem("no stage trains.", cure="Add a train stage, and an evaluate stage that judges it.")
    return Problem(f"nothing judges {listed(trains)}.", cure=f"Add `grid: {{uses: evaluate, weights: ${trains[0]}}}`.")


def _wrong_settings(options: TuneOptions, stage: Stage, name: str) -> Iterator[Problem]:
    """Yield the settings that the stage lacks, that are no numbers, or that must stay as they are."""
    for place, each in enumerate(options.free):
        knob, path = knob_at(stage, each), ("free", place)
        if knob is None:
            numbers = [known.name for known in knobs(type(stage)) if is_number(known)]
            cure = near_miss(each, [*dict.fromkeys([*USUAL, *numbers])])
            yield Problem(f"{name} has no setting {shortened(each, 100)!r}.", cure=cure, path=path)
        elif not is_number(knob):
            yield Problem(f"{each} is no number, and cannot be tuned.", cure="Take it away.", path=path)
        elif each.startswith("adapter.") and getattr(stage, "start_from", None) is not None:
            cure = "Take it away, or train from scratch."
            yield Problem(f"{each} is that of the file in start_from.", cure=cure, path=path)
