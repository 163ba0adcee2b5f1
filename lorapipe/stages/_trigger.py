"""Check that training captions contain the trigger word of an export: a word that is missing there is not learnt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

from lorapipe.pipeline import references
from lorapipe.stages import Stage
from lorapipe.training.caption_augment import Captioning
from lorapipe.whole_words import has_words

if TYPE_CHECKING:
    from lorapipe.stages.prepare import Prepare
    from lorapipe.stages.train import Train


def lacking(trigger: str, exporting: Stage, stages: Mapping[str, Stage]) -> Iterator[str]:
    """Yield a line for each dataset behind an export whose captions lack the trigger word."""
    if not trigger:
        return
    for stage in _behind(exporting, stages):
        if hasattr(stage, "regularisation"):
            training = cast("Train", stage)
            of_the_class = getattr(training.regularisation, "stage", "")
            subject = (stages.get(name) for name in references.needs(training) if name != of_the_class)
            for dataset in (cast("Prepare", each) for each in subject if hasattr(each, "caption_extensions")):
                yield from _of_dataset(trigger, dataset, dataset.captions or training.captions)


def _of_dataset(trigger: str, dataset: Prepare, captioning: Captioning) -> Iterator[str]:
    from lorapipe.training.data.captions import CaptionFiles
    from lorapipe.training.data.image_folder import look_through

    root = dataset.images.path
    if not root.is_dir():
        return
    found = look_through(root, dataset.exclude, dataset.caption_extensions)
    captions = CaptionFiles(root, found.captions, dataset.caption_lines)
    said = [captioning.canonical(captions.of(picture, dataset.class_word).text) for picture in found.pictures]
    if without := sum(not has_words(text, trigger) for text in said):
        what = f"{without} of {len(said)} captions in {root.name} lack the trigger word {trigger!r}"
        yield f"{what}, so they do not teach it; captions: {{trigger: {trigger}}} in the training puts it before them"


def _behind(stage: Stage, stages: Mapping[str, Stage]) -> Iterator[Stage]:
    """Yield the stages that a stage needs, directly or indirectly, each once."""
    waiting, seen = [*references.needs(stage)], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in seen and name in stages:
            seen.add(name)
            yield stages[name]
            waiting += references.needs(stages[name])
