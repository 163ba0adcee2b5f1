"""The drawn world: creatures, their attributes, and tags.

Attributes are sampled independently, and every value *is* its tag, so a picture and its caption always agree.
"""

from dataclasses import dataclass
from random import Random

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "body": ("round body", "tall body", "square body", "wide body", "pear body", "ghost body"),
    "colour": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "white"),
    "pattern": ("plain", "spots", "stripes", "pale belly"),
    "eyes": ("big eyes", "small eyes", "closed eyes", "one eye", "angry eyes"),
    "mouth": ("smile", "frown", "open mouth", "tongue out", "buck teeth"),
    "ears": ("no ears", "cat ears", "rabbit ears", "bear ears", "horns", "antennae"),
    "hat": ("no hat", "top hat", "party hat", "crown", "beanie", "bow"),
    "held": ("empty hands", "holding balloon", "holding flag", "holding star", "holding flower", "holding umbrella"),
    "arms": ("arms up", "arms out", "arms down"),
    "background": (
        "cream background", "mint background", "lavender background",
        "meadow", "beach", "night sky", "snow", "room", "forest",
    ),
}  # fmt: skip

TAGS: tuple[str, ...] = tuple(tag for values in ATTRIBUTES.values() for tag in values)


@dataclass(frozen=True)
class Creature:
    """One creature. The first ten fields are tags of `ATTRIBUTES`; the others are random and have no tags.

    `x`, `y` shift it from the middle (units of 1/64 of the picture's shorter side), `scale` is a factor on its size,
    `mirrored` swaps left and right, and `chance` seeds details of the scene such as the places of stars.
    """

    body: str
    colour: str
    pattern: str
    eyes: str
    mouth: str
    ears: str
    hat: str
    held: str
    arms: str
    background: str
    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    mirrored: bool = False
    chance: int = 0


def sample(rng: Random, background: str | None = None) -> Creature:
    """Sample a creature with independent, uniform attributes; in front of `background` where it is given."""
    values = {name: rng.choice(options) for name, options in ATTRIBUTES.items()}
    values["background"] = background or values["background"]
    return Creature(
        **values,
        x=rng.uniform(-3, 3),
        y=rng.uniform(-2, 2),
        scale=rng.uniform(0.96, 1.09),
        mirrored=rng.random() < 0.5,
        chance=rng.randrange(1 << 16),
    )


def tags(creature: Creature) -> list[str]:
    """Return the creature's tags, one per attribute, in the order of `ATTRIBUTES`."""
    return [getattr(creature, name) for name in ATTRIBUTES]


def caption(creature: Creature, rng: Random) -> str:
    """Make a training caption: tags shuffled, some dropped, sometimes with a meaningless word added.

    Half of the captions are complete; the others keep a random share, so that the model learns short prompts. The
    meaningless words teach it to ignore unknown words, of which a LoRA's trigger is one.
    """
    words = tags(creature)
    rng.shuffle(words)
    if rng.random() < 0.5:
        words = words[: rng.randint(1, len(words))]
    if rng.random() < 0.15:
        words.insert(rng.randint(0, len(words)), nonsense(rng))
    return ", ".join(words)


def nonsense(rng: Random) -> str:
    """Return one to three made-up words of two to eight letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return " ".join("".join(rng.choices(letters, k=rng.randint(2, 8))) for _ in range(rng.randint(1, 3)))
