"""Subjects of a LoRA, and how difficult they are to learn: the categories A to I of the training guide (§2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Subject = Literal["character", "style", "concept", "vehicle"]
Difficulty = Literal["A", "B", "C", "D", "E", "F", "G", "H", "I"]
SUBJECTS: Mapping[Subject, str] = {
    "character": "a character, a person or an animal",
    "style": "how pictures are drawn or photographed",
    "concept": "a pose, a garment, a thing, a situation",
    "vehicle": "a car, an aircraft, a ship: C to G by detail",
}
LEAST_PICTURES: Mapping[Subject, int] = {"character": 10, "vehicle": 10, "concept": 25, "style": 50}
"""With fewer pictures a subject is learnt badly (guide §3, §9; half of its figures for concepts and styles)."""


@dataclass(frozen=True)
class Category:
    """A category of subjects: what belongs to it, the ranks that suit it, and the adapters that can learn it."""

    what: str
    low: int
    high: int
    adapters: tuple[str, ...]

    @property
    def rank(self) -> int:
        """The middle of the ranks, on the scale of their logarithms: a multiple of 4."""
        return max(4, 4 * round((self.low * self.high) ** 0.5 / 4))


WEAK = ("embedding", "lora", "locon", "lokr", "loha")
STRONG = ("lora", "locon", "loha")
FULL = ("lora", "locon")
CATEGORIES: Mapping[Difficulty, Category] = {
    "A": Category("a woman of realistic proportions, no unusual clothes", 4, 8, WEAK),
    "B": Category("an unusual face, hair, colours or outfit", 4, 16, WEAK[1:]),
    "C": Category("elaborate: wings, armour, a tail", 8, 32, WEAK[1:]),
    "D": Category("humanoid or furry, or a real person", 32, 64, STRONG),
    "E": Category("an unusual body plan, such as four arms", 64, 64, FULL),
    "F": Category("an animal of fiction, a dragon, a humanoid robot, very ornate armour", 64, 128, FULL),
    "G": Category("a mecha, an alien, a demon, many legs", 128, 128, FULL),
    "H": Category("a robot without human shape, a monster, an insect, a real animal", 128, 192, FULL),
    "I": Category("eldritch: no shape that could be named", 192, 256, FULL),
}
STYLE_RANKS = (16, 192)
"""Ranks that are used for styles: 96 to 192 in the guide (§3); low ranks do for most, and travel better."""
