"""CLIP as a tagger: which of some tags is most like the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.captioning.taggers import LoadedTagger, Tagger, Tagging
from lorapipe.captioning.tags import joined
from lorapipe.errors import Problem
from lorapipe.spec import Source, param

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class ClipTags(Tagger):
    """A CLIP model and your own tags: of each kind the one that is most like the picture (Radford et al. 2021, zero-shot).

    For those who have no other tagger. It is good at scenes and styles, and poor at small things and counts.
    """

    search_words: ClassVar[tuple[str, ...]] = ("clip interrogator", "interrogator")

    folder: Source = param(
        help="a CLIP folder of transformers: config.json, weights, tokenizer, preprocessor", shelf="clip"
    )
    tags: dict[str, tuple[str, ...]] = param(
        help="the tags by kind, of which the likeliest of each kind is taken: {place: [beach, forest], time: [day, night]}"
    )
    prompt: str = param("{}", "the text that is compared with the picture, with {} for the tag: 'a photo of {}'")
    threshold: float = param(
        0.0, "least probability of a tag among those of its kind; below it, no tag of the kind", ge=0, le=1
    )

    def problems(self) -> Iterator[Problem]:
        if not self.tags:
            yield Problem("has no kinds of tags.", cure="Write {place: [beach, forest]}.", path=("tags",))
        for kind, tags in self.tags.items():
            if len(tags) < 2:
                what = f"has {len(tags)} tags: the likeliest of them is always the same."
                yield Problem(what, cure="Write two or more, one for what is none of the others.", path=("tags", kind))
        if "{}" not in self.prompt:
            yield Problem("has no {} for the tag.", cure="Write 'a photo of {}'.", path=("prompt",))

    def files(self) -> Iterator[Path]:
        yield self.folder.path

    def load(self, device: str) -> LoadedTagger:
        return _Loaded(self, device)


class _Loaded(LoadedTagger):
    def __init__(self, settings: ClipTags, device: str) -> None:
        from lorapipe.evaluation.clip import Clip

        self._settings = settings
        self._clip = Clip(settings.folder.path, device)
        self._texts = {
            kind: self._clip.texts([settings.prompt.replace("{}", tag) for tag in tags])
            for kind, tags in settings.tags.items()
        }

    def prepare(self, picture: Image) -> Any:
        return picture

    def tag(self, prepared: Sequence[Any]) -> list[Tagging]:
        seen = self._clip.pictures(prepared)
        return [self._tagging(vector) for vector in seen]

    def _tagging(self, vector: Any) -> Tagging:
        scores: dict[str, float] = {}
        for kind, tags in self._settings.tags.items():
            likely = _softmax(self._clip.scale * (self._texts[kind] @ vector))
            best = int(likely.argmax())
            if likely[best] >= self._settings.threshold:
                scores[tags[best]] = round(float(likely[best]), 4)
        return Tagging(joined(scores), scores)


def _softmax(values: Any) -> Any:
    import numpy as np

    powers = np.exp(values - values.max())
    return powers / powers.sum()
