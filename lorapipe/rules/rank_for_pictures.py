"""Rank against the number of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.rules._settings import rank_of

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions

MOST = ((15, 64), (35, 96), (100, 192))
"""Number of pictures → the highest rank with fewer (guide §3)."""


class RankForPictures(Rule):
    """A high rank has pictures enough (guide §3)."""

    why: ClassVar[str] = "With so few pictures a high rank memorises them in place of the subject."
    change: ClassVar[str] = "Take a lower rank, or more pictures."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        rank = rank_of(training.adapter)
        for pictures, most in MOST:
            if facts.pictures and facts.pictures < pictures:
                if rank > most:
                    yield Finding(
                        f"rank {rank} for {facts.pictures} pictures.",
                        ("adapter", "rank"),
                        f"Write rank: {most} or less.",
                    )
                return
