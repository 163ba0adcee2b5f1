"""Paints pictures to choose from, prompts × seeds × strengths × styles, and scores each against true pictures.

What is painted and what is seen in it comes from the same pieces as an evaluation's: `GridSampler`, `FeatureCache`,
`Scorer`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.evaluation.candidates import Candidate, CandidateScorer, Figures
from lorapipe.evaluation.grid_plan import BASE, Cell
from lorapipe.evaluation.grid_sampler import GridSampler
from lorapipe.evaluation.image_store import ImageStore
from lorapipe.evaluation.measures import Reference
from lorapipe.evaluation.reference_views import CAPTIONED, LEAST, views
from lorapipe.evaluation.scorer import Scorer
from lorapipe.training.model_contexts import attached

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.evaluation.feature_cache import FeatureCache
    from lorapipe.evaluation.features import Array, Seen
    from lorapipe.evaluation.results import Kind
    from lorapipe.training.adapters import Attachable, Attached


@dataclass(frozen=True)
class Style:
    """A further adapter: its name, and its strengths by part of the model."""

    name: str
    adapter: Attachable
    parts: Sequence[str]
    strengths: dict[str, float]


@dataclass(frozen=True)
class EarlierPicture:
    """A picture of an earlier synthesis, which is judged again; `following` is what was measured then."""

    path: Path
    prompt: str
    seed: int = 0
    strength: float = 1.0
    style: str = ""
    following: float | None = None


@dataclass
class PictureSynthesis:
    """Paints and scores candidates; `scorer` is there when they are painted.

    `adapter` is attached to its `parts` and set to each of `strengths`; with `styles`, pictures are painted with each of
    these beside it, and none without. `true` are the pictures that candidates are held against, with their `captions`;
    there may be none. `grid.images` has the prompts.
    """

    grid: GridSampler
    adapter: Attachable
    parts: Sequence[str]
    strengths: Sequence[float]
    features: FeatureCache
    true: Sequence[Image] = ()
    captions: Sequence[str] = ()
    styles: Sequence[Style] = ()
    kind: Kind | None = None
    scorer: CandidateScorer = field(init=False)

    def run(self) -> tuple[list[Candidate], list[Array]]:
        """Return all candidates, and of each the features of its picture's places, see `Seen.patches`."""
        self.grid.sample_base()
        if self._few:
            self._of_captions.sample_base()
        styles: Sequence[Style | None] = self.styles or [None]
        painted = [cell for style in styles for cell in self._paint(style)]
        self.scorer = self._fitted()
        candidates: list[Candidate] = []
        patches: list[Array] = []
        for images, cell, style in painted:
            seen = self.features(images, cell)
            candidates += _candidates(images, cell, style, self.scorer(seen))
            patches += seen.patches
        return candidates, patches

    def judged_again(self, pictures: Sequence[EarlierPicture]) -> tuple[list[Candidate], list[Array]]:
        """Return pictures of earlier syntheses as candidates, held against the same true pictures."""
        if not pictures:
            return [], []
        seen = self._seen([each.path for each in pictures])
        figures = [
            Figures(found.likeness, each.following, found.sound, found.copied)
            for found, each in zip(self.scorer.without_prompts(seen), pictures, strict=True)
        ]
        return [
            Candidate(each.path, each.prompt, each.seed, each.strength, each.style, found)
            for each, found in zip(pictures, figures, strict=True)
        ], list(seen.patches)

    def pictures(self) -> int:
        """Return how many pictures are painted."""
        cells = 1 + len(self.strengths) * max(1, len(self.styles))
        extra = len(self._of_captions.images.slots) if self._few else 0
        return cells * len(self.grid.images.slots) + extra

    @property
    def _few(self) -> bool:
        return 0 < len(self.true) < LEAST

    @property
    def _of_captions(self) -> GridSampler:
        """Samples the base's pictures of the true pictures' captions."""
        asked = tuple(dict.fromkeys(self.captions))
        images = self.grid.images
        count = ceil(CAPTIONED / len(asked))
        return replace(self.grid, images=replace(images, folder=images.folder / "captions", prompts=asked, count=count))

    def _paint(self, style: Style | None) -> Iterator[tuple[ImageStore, Cell, str]]:
        """Sample every strength with a style, or without one."""
        name = style.name if style else ""
        images = (
            replace(self.grid.images, folder=self.grid.images.folder / f"style-{name}") if name else self.grid.images
        )
        grid = replace(self.grid, images=images)
        with self._attached(style) as adapter:
            for strength in dict.fromkeys(self.strengths):
                cell = Cell(1, strength, strength)
                grid.sample(cell, adapter)
                grid.preview(cell)
                yield images, cell, name

    @contextmanager
    def _attached(self, style: Style | None) -> Iterator[Attached]:
        """The adapter, outside of a style's where there is one."""
        model = self.grid.sampler.model
        with ExitStack() as stack:
            if style:
                other = stack.enter_context(attached(style.adapter, model, style.parts))
                other.set_strength(style.strengths)
            yield stack.enter_context(attached(self.adapter, model, self.parts))

    def _fitted(self) -> CandidateScorer:
        """The measures, fitted to the true pictures and to what the base paints."""
        images = self.grid.images
        base = self.features(images, BASE)
        if not self.true:
            said = [images.prompts[each] for each in images.prompt_of]
            reference = Reference(base, said, base, images.prompts, images.prompt_of)
            return CandidateScorer(None, Scorer(reference, self.kind))
        shown = views(self.true)
        captions = [self.captions[place % len(self.captions)] for place in range(len(shown))]
        training = self.features.training(shown)
        asked = Scorer(Reference(training, captions, base, images.prompts, images.prompt_of), self.kind)
        if not self._few:
            return CandidateScorer(asked, asked)
        own = self._of_captions.images
        described = self.features(own, BASE)
        true = Scorer(Reference(training, captions, described, own.prompts, own.prompt_of, few=True), self.kind)
        return CandidateScorer(true, asked)

    def _seen(self, paths: Sequence[Path]) -> Seen:
        from PIL import Image

        found = []
        for path in paths:
            with Image.open(path) as picture:
                found.append(picture.convert("RGB"))
        return self.features.read(found)


def _candidates(images: ImageStore, cell: Cell, style: str, figures: Sequence[Figures]) -> Iterator[Candidate]:
    for slot, one in zip(images.slots, figures, strict=True):
        prompt, seed = images.prompts[slot.prompt], images.noise_seed(slot)
        yield Candidate(images.path(cell, slot), prompt, seed, cell.strength, style, one)
