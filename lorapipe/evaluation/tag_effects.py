"""What a tag does to pictures: how much more of it those show whose prompt asks for it than those whose prompt does not.

The direction is what the captions taught of the tag (`measures.taught`): 0 as the training pictures without it, 1 as those
with it. Only tags are looked at whose direction tells training pictures apart that it was not made of, so that silence of
a measure is not taken for silence of a tag.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from lorapipe.evaluation.advice import Advice

if TYPE_CHECKING:
    from lorapipe.evaluation.verdict_rules import State

IDLE, AT_MOST, WORKS = 0.1, 0.2, 0.3
"""A tag changes nothing if its effect is below the first, and with its standard error below the second. It works if the
effect less its standard error is above the third.
"""
UNTELLING: frozenset[State] = frozenset({"broken", "no effect"})
"""States in which pictures tell nothing of tags."""


class TagEffect(NamedTuple):
    """A tag's effect on the pictures of a cell (1 as much as in the training pictures), its standard error, and how many
    captions have the tag.
    """

    effect: float
    error: float
    captions: int

    @property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return self.effect < IDLE and self.effect + self.error < AT_MOST

    @property
    def works(self) -> bool:
        """Whether it changes the pictures as the captions taught."""
        return self.effect - self.error > WORKS


def idle_tags(effects: Mapping[str, TagEffect], state: State) -> dict[str, TagEffect]:
    """The tags that change nothing, with what was seen of them; none where the pictures of a state cannot tell."""
    return {} if state in UNTELLING else {tag: each for tag, each in effects.items() if each.idle}


def tag_advice(effects: Mapping[str, TagEffect], state: State) -> Iterator[Advice]:
    """What to do about tags that change nothing."""
    idle = idle_tags(effects, state)
    if not idle:
        return
    if len(idle) == 1:
        tag, each = next(iter(idle.items()))
        what = f"The tag {tag} changes nothing in the pictures, though {each.captions} captions have it."
    else:
        what = f"The tags {', '.join(idle)} change nothing in the pictures, though captions have them."
    yield Advice(
        f"{what} Look whether the pictures with these captions show it, and whether no others do. Where that is so, say it "
        "without the tags that always come with it, add pictures that show it, or train longer."
    )
