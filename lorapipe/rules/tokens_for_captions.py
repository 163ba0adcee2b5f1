"""Token length against the longest caption."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.training.data.caption_kinds import least_tokens

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class TokensForCaptions(Rule):
    """The longest caption fits max_tokens (guide §7)."""

    why: ClassVar[str] = "What is beyond is cut off and not learnt."
    change: ClassVar[str] = "Write max_tokens: 225, or shorten the captions."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        lengths = [least_tokens(caption) for caption in facts.captions]
        longer = [length for length in lengths if length > training.max_tokens]
        if longer and max(lengths) > training.max_tokens:
            fitting = next((most for most in (150, 225) if max(lengths) <= most), 225)
            count = "1 caption has" if len(longer) == 1 else f"{len(longer)} captions have"
            what = f"{count} more than {training.max_tokens} tokens; the longest at least {max(lengths)}."
            change = f"Write max_tokens: {fitting}." if training.max_tokens < 225 else "Shorten them: 225 is the most."
            yield Finding(what, ("max_tokens",), change)
