"""Does *following* tell how much of its prompt a picture shows? Drawings with a known share of it; nothing is trained.

The base's pictures are drawings too: creatures with the tags of a prompt or of a caption. What a LoRA would paint is drawn
as the training pictures are, in the pose that the same noise gave the base, and has each tag that is asked for with a given
chance, else another of its kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from benchmarks.judging import subjects
from benchmarks.judging.grids import NOISES, Machine
from benchmarks.judging.trainings import Training, planted
from lorapipe.evaluation.features import FeatureReader
from lorapipe.evaluation.grid_plan import compared_captions
from lorapipe.evaluation.measures import Reference
from lorapipe.evaluation.scorer import Scorer
from lorapipe.evaluation.selection import following
from lorapipe.pipeline.context import ModelCache
from lorapipe.pocket.draw import draw
from lorapipe.pocket.world import ATTRIBUTES, Creature, sample

if TYPE_CHECKING:
    from PIL.Image import Image

SHARES = (0.0, 0.5, 1.0)
SHOWN = ("style0-good", "style1-good", "concept0-good", "concept1-good", "subject0-good", "subject1-good")


def report() -> Iterator[str]:
    """A line for each of `SHOWN`: following where none, half and all of what is asked for is drawn."""
    read = FeatureReader(Machine("cpu", ModelCache()).model)
    for training in planted():
        if training.key in SHOWN:
            figures = ", ".join(f"{share:.0%} {figure:.2f}" for share, figure in followed(training, read).items())
            yield f"{training.key:16} {training.group:6}  drawn as asked: {figures}"


def followed(training: Training, read: FeatureReader) -> Mapping[float, float]:
    """Following by the share of what is asked for that is drawn."""
    rng, drawings, prompts = Random(training.key), training.drawings(), training.prompts()
    prompt_of = [prompt for prompt in range(len(prompts)) for _ in range(NOISES)]
    asked = [_named([*prompts][prompt]) for prompt in prompt_of]
    beings = [replace(sample(rng), **tags) for tags in asked]
    captions = [caption for _, caption in drawings]
    compared = compared_captions(captions)
    scorer = Scorer(
        Reference(
            read([picture for picture, _ in drawings]), captions, read([*map(draw, beings)]), tuple(prompts), prompt_of,
            captioned=read([draw(replace(sample(rng), **_named(captions[place]))) for place in compared]),
            captioned_of=compared,
        ),
        "style" if training.what == "style" else "subject",
    )  # fmt: skip
    figures = {}
    for share in SHARES:
        pictures = [
            _drawn(training, rng, being, _kept(rng, tags, share)) for being, tags in zip(beings, asked, strict=True)
        ]
        scores = scorer(read(pictures)).scores
        figures[share] = (following(scores) or 0.0) if scores else 0.0
    return figures


def _named(caption: str) -> dict[str, str]:
    """The tags of a caption, by the kind of each."""
    said = caption.split(", ")
    return {name: tag for name, values in ATTRIBUTES.items() for tag in said if tag in values}


def _kept(rng: Random, tags: Mapping[str, str], share: float) -> dict[str, str]:
    """Each tag with a chance of `share`, else another of its kind."""
    others = {name: rng.choice([each for each in ATTRIBUTES[name] if each != tag]) for name, tag in tags.items()}
    return {name: tag if rng.random() < share else others[name] for name, tag in tags.items()}


def _drawn(training: Training, rng: Random, being: Creature, tags: Mapping[str, str]) -> Image:
    """A picture of what is trained, with these tags, in the being's place."""
    if training.what == "subject":
        drawing = subjects.picture_of(subjects.subject(training.subject), rng)
        pose = (drawing.pose[0], being.x, being.y, drawing.pose[3])
        kept = {name: tag for name, tag in tags.items() if name in subjects.TAGS}
        return subjects.draw(replace(drawing, tags={**drawing.tags, **kept}, pose=pose, mirrored=being.mirrored))
    return training.drawn(replace(being, **tags))
