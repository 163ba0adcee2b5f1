"""Check that training captions contain the trigger word of an export: a word that is missing there is not learnt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from lorapipe.captioning.tags import compared_tags, tags_of
from lorapipe.errors import InputError
from lorapipe.pipeline import references
from lorapipe.stages import Stage
from lorapipe.training.caption_augment import Captioning
from lorapipe.whole_words import has_words

if TYPE_CHECKING:
    from pathlib import Path

    from lorapipe.stages.prepare import Prepare
    from lorapipe.training.options import TrainingOptions


def lacking(trigger: str, exporting: Stage, stages: Mapping[str, Stage]) -> Iterator[str]:
    """Yield a line for each dataset behind an export whose captions lack the trigger word."""
    if not trigger:
        return
    for folder, said in _captions(behind(exporting, stages), stages):
        if without := sum(not has_words(text, trigger) for text in said):
            what = f"{without} of {len(said)} captions in {folder} lack the trigger word {trigger!r}"
            yield f"{what}, so they do not teach it; {_cure(trigger)} puts it before them"


def never_said(
    prompts: Sequence[str], field: str, among: Iterable[Stage], stages: Mapping[str, Stage]
) -> Iterator[str]:
    """Yield a line for each tag that two or more prompts of a field all have, but no caption of any dataset.

    `among` are stages, the training among them. A single prompt says nothing about a trigger word.
    """
    shared = _shared_tags(prompts) if len(prompts) > 1 else []
    if not shared:
        return
    found = [*_captions(among, stages)]
    said = [text for _, texts in found for text in texts]
    for tag in shared if said else ():
        if not any(has_words(text, tag) for text in said):
            where = " and ".join(dict.fromkeys(folder for folder, _ in found))
            what = f"all {field} have {tag!r}, but none of the {len(said)} captions in {where} does"
            yield f"{what}: it is not learnt. If it is the trigger word, {_cure(tag)} puts it before them"


def _shared_tags(prompts: Sequence[str]) -> list[str]:
    """Return the tags that all prompts have, as the first one writes them and in its order."""
    first, *others = prompts
    compared = [compared_tags(prompt) for prompt in others]
    return [tag for tag in tags_of(first) if all(tag.lower() in each for each in compared)]


def _cure(trigger: str) -> str:
    return f"captions: {{trigger: {trigger}}} in the training"


def _captions(among: Iterable[Stage], stages: Mapping[str, Stage]) -> Iterator[tuple[str, list[str]]]:
    """Yield the folder and the canonical captions of each dataset of the trainings among some stages."""
    for stage in among:
        if hasattr(stage, "regularisation"):
            training = cast("TrainingOptions", stage)
            of_the_class = getattr(training.regularisation, "stage", "")
            subject = (stages.get(name) for name in references.needs(training) if name != of_the_class)
            for dataset in (cast("Prepare", each) for each in subject if hasattr(each, "caption_extensions")):
                for folder in dataset.known_folders:
                    if said := _said(dataset, folder, dataset.captions or training.captions):
                        yield folder.name, said


def _said(dataset: Prepare, root: Path, captioning: Captioning) -> list[str]:
    try:
        return [captioning.canonical(caption.text) for caption in dataset.captions_in(root).values()]
    except (InputError, OSError):
        return []


def behind(stage: Stage, stages: Mapping[str, Stage]) -> Iterator[Stage]:
    """Yield the stages that a stage needs, directly or indirectly, each once."""
    waiting, seen = [*references.needs(stage)], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen and name in stages:
            seen.add(name)
            yield stages[name]
            waiting += references.needs(stages[name])
