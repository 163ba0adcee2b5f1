"""A subject that is drawn in one style only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.captioning.tags import compared_tags
from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions

FEWEST = 8
STYLES = (
    "monochrome", "greyscale", "grayscale", "sketch", "lineart", "line art", "pixel art", "3d", "3d render", "watercolor",
    "watercolour", "oil painting", "anime screencap", "anime coloring", "manga", "comic", "chibi", "game cg", "concept art",
)  # fmt: skip
"""Tags that say how a picture is made."""


class OneStyle(Rule):
    """A character is shown in more than one style, or its pictures say their style is not the subject (guide §9)."""

    why: ClassVar[str] = "The style of the source is learnt with the subject, which then looks so on every base."
    change: ClassVar[str] = "Add pictures of other styles, or regularisation pictures of the class in this style."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if training.subject in (None, "style") or facts.regularisation is not None or len(facts.captions) < FEWEST:
            return
        said = [{*compared_tags(caption)} for caption in facts.captions]
        for style in STYLES:
            if sum(style in tags for tags in said) >= 0.9 * len(said):
                yield Finding(f"nearly all captions say {style!r}.", ("dataset",))
