"""Clip skip against the base."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions

ANIME = re.compile(
    r"(?i)anime|(?<![a-z])nai(?![a-z])|novelai|anything.?v|abyss.?orange|counterfeit|meinamix|pastel.?mix|hassaku"
)
PLAIN = re.compile(r"(?i)^(sd[-_ ]?)?v1-[1-5]|stable-diffusion-v1|sd[-_]?1\.?5|realistic|photon|epicrealism|deliberate")
"""Names of checkpoints by which they are known."""


class ClipSkipForBase(Rule):
    """A clip_skip is 2 for anime bases of SD1.x, which descend from NAI, and 1 for others (guide §7)."""

    why: ClassVar[str] = "A LoRA is used with the layer of the text encoder that the base was trained with."
    change: ClassVar[str] = "Write clip_skip: 2 for an anime base, or leave it out for others."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        if training.clip_skip > 2:
            yield Finding(f"no base is known that was trained with clip_skip {training.clip_skip}.", ("clip_skip",))
            return
        if getattr(facts.base, "name", "") != "sd15" or facts.is_pocket:
            return
        is_anime = bool(ANIME.search(facts.base_name))
        if is_anime and training.clip_skip == 1:
            yield Finding(f"{facts.base_name} looks like an anime base.", ("clip_skip",), "Write clip_skip: 2.")
        elif training.clip_skip == 2 and PLAIN.search(facts.base_name) and not is_anime:
            yield Finding(f"{facts.base_name} is no anime base.", ("clip_skip",), "Remove clip_skip.")
