"""What the rules are told of a training: its base, and its pictures as far as they can be seen before a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, cast

from lorapipe import rules
from lorapipe.errors import InputError, Problem
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.rules import Facts, Pictures
from lorapipe.spec import Ref, Spec
from lorapipe.stages import Stage
from lorapipe.stages._train_rules import bases_among, made_by
from lorapipe.training.options import TrainingOptions

if TYPE_CHECKING:
    from lorapipe.models import Family
    from lorapipe.picture_files import Contents
    from lorapipe.stages.prepare import Prepare


def findings(train: TrainingOptions, stages: Mapping[str, Stage]) -> Iterator[Problem]:
    """Yield what the rules say of a training; the path of each begins with the name of the stage to change."""
    return rules.problems(train, facts_of(train, stages), stage=_name(train, stages))


def warnings(train: TrainingOptions, total: int, per_epoch: float) -> Iterator[str]:
    """Yield what rules say of the settings alone, once the number of steps is known."""
    facts = Facts(total=total, per_epoch=per_epoch)
    return (each.sentence for each in rules.problems(train, facts, "warning"))


def facts_of(train: TrainingOptions, stages: Mapping[str, Stage]) -> Facts:
    """Collect the facts. It reads the names of the folders' files, their captions, and the headers of their pictures."""
    base = next(iter(bases_among(train, stages)))
    subject = [each for each in train.datasets if each is not train.regularisation]
    datasets = _datasets(train, subject, stages)
    reg = _pictures(train, train.regularisation, stages) if train.regularisation else None
    is_known = len(datasets) == len(subject) and all(each.count for each in datasets)
    total, per_epoch = _length(train, datasets if is_known else ())
    return Facts(base, _base_name(base), datasets, reg, total, per_epoch)


def _datasets(
    train: TrainingOptions, subject: Sequence[Dataset | Ref], stages: Mapping[str, Stage]
) -> tuple[Pictures, ...]:
    """Return what is known of the datasets, each as often as it is named."""
    named = [each for each in subject if isinstance(each, Ref)]
    known = {each: _pictures(train, each, stages) for each in dict.fromkeys(named)}
    return tuple(found for each in named if (found := known[each]) is not None)


def _length(train: TrainingOptions, datasets: Sequence[Pictures]) -> tuple[int | None, float]:
    """Return the number of steps, None if it is unknown, and of those of an epoch (1 if that is unknown)."""
    showings = sum(each.showings for each in datasets) * (2 if train.regularisation else 1)
    per_epoch = max(1.0, showings / (train.batch * train.accumulation))
    is_known = datasets or train.steps.unit == "steps"
    return (train.steps.steps(per_epoch) if is_known else None), per_epoch


def _name(train: Spec, stages: Mapping[str, Stage]) -> str:
    return next((name for name, stage in stages.items() if stage is train), "")


def _base_name(base: Family | None) -> str:
    return "" if base is None or base.is_pending else base.checkpoint.plain().rpartition("/")[2]


def _pictures(train: TrainingOptions, dataset: Dataset | Ref, stages: Mapping[str, Stage]) -> Pictures | None:
    """Return what is known of a dataset: None unless a stage of the pipeline prepares it from a folder."""
    maker = made_by(dataset, stages)
    if maker is None or not hasattr(maker, "caption_extensions") or not isinstance(dataset, Ref):
        return None
    prepare = cast("Prepare", maker)
    if prepare.base.is_pending:
        return None
    try:
        read = prepare.folder_facts
    except (InputError, OSError):
        return None
    captioning = prepare.captions or train.captions
    return Pictures(
        stage=dataset.stage,
        count=read.forecast.training,
        showings=read.forecast.per_epoch,
        repeats=_repeats(prepare, read.contents),
        sizes=read.forecast.sizes,
        captions=tuple(captioning.canonical(each.text) for each in read.captions),
        written=sum(each.from_file for each in read.captions),
        resolution=read.resolution,
        flip=prepare.augment.flip,
        enlarges=not prepare.bucket_no_upscale,
    )


def _repeats(prepare: Prepare, contents: Contents) -> tuple[int, int]:
    """Return the least and the most repeats of a picture."""
    from lorapipe.training.data.captions import folder_name

    folders = {PurePosixPath(picture).parent / "x" for picture in contents.pictures}
    named = [folder_name(each) for each in folders]
    repeats = [each.repeats if each else prepare.repeats for each in named]
    return (min(repeats), max(repeats)) if repeats else (1, 1)
