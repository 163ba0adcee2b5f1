"""What a tag does to pictures: how much more of it those show whose prompt asks for it than those whose prompt does not.

The direction is what the captions taught of the tag (`measures.taught`): 0 as the training pictures without it, 1 as those
with it. Only tags are looked at whose direction tells training pictures apart that it was not made of, so that silence of
a measure is not taken for silence of a tag.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lorapipe.evaluation.advice import Advice
from lorapipe.evaluation.results import TagEffect

if TYPE_CHECKING:
    from lorapipe.evaluation.diagnosis import State

UNTELLING: frozenset[State] = frozenset({"broken", "no effect"})
"""States in which pictures tell nothing of tags."""


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
