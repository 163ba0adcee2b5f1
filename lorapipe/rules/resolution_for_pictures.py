"""Resolution against the pictures' sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions

SMALL = 0.5
"""Share of the resolution's pixels below which enlarging is seen."""


class ResolutionForPictures(Rule):
    """The pictures are as large as the resolution at which they are trained (guide §7)."""

    why: ClassVar[str] = "Enlarged pictures teach their blur and their compression."
    change: ClassVar[str] = (
        "Write a lower resolution, or bucket_no_upscale: true; or leave small pictures out with min_size."
    )

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if facts.is_pocket:
            return
        for each in facts.datasets:
            if each.resolution is None or not each.enlarges or not each.sizes:
                continue
            area = each.resolution[0] * each.resolution[1]
            small = sum(width * height < SMALL * area for width, height in each.sizes)
            if small > len(each.sizes) // 2:
                size = "x".join(map(str, each.resolution))
                what = (
                    f"{small} of {len(each.sizes)} pictures have less than half of the pixels of the resolution {size}."
                )
                yield Finding(what, ("resolution",), stage=each.stage)
