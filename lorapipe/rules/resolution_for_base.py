"""Resolution against the base's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions

LOW, HIGH = 0.4, 2.6
"""Share of the base's own pixels: 768 for a base of 512 is usual (guide §3), 512 for one of 1024 is not."""


class ResolutionForBase(Rule):
    """The resolution is near the one that the base was made for."""

    why: ClassVar[str] = (
        "Far below it the base draws parts of pictures, far above it repeats them, and so does the LoRA."
    )
    change: ClassVar[str] = "Leave resolution empty: it is then the base's own."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if facts.base is None or facts.is_pocket:
            return
        own = facts.base.native_size()
        for each in facts.datasets:
            if each.resolution is not None:
                share = each.resolution[0] * each.resolution[1] / own**2
                if not LOW <= share <= HIGH:
                    size = "x".join(map(str, each.resolution))
                    what = f"{size} has {share:.2g} times the pixels of the base's own {own}x{own}."
                    yield Finding(what, ("resolution",), stage=each.stage)
