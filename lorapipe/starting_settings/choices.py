"""Decide the settings of a first training from the pictures and the wishes, each with its reason (training guide)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lorapipe import pocket
from lorapipe.evaluation.prompts import scenes
from lorapipe.rules.clip_skip_for_base import ANIME, PLAIN
from lorapipe.rules.rank_for_pictures import MOST
from lorapipe.rules.repeats_for_epochs import FEW
from lorapipe.starting_settings.training_size import TrainingSize, fitted
from lorapipe.starting_settings.trigger_settings import TriggerSettings, trigger_settings, whole_epochs
from lorapipe.training.data.caption_kinds import asymmetric_tag
from lorapipe.training.subjects import CATEGORIES, Difficulty, Subject
from lorapipe.watch.folder_names import trigger_of

if TYPE_CHECKING:
    from lorapipe.models import Family
    from lorapipe.starting_settings.folder_facts import FolderFacts, Group
    from lorapipe.starting_settings.wishes import Wishes

GENERIC = re.compile(r"(?i)(my )?(photos?|pictures?|images?|img|imgs|dataset|data|train(ing)?|input|\d+)")
"""Names of folders that say nothing of what is in them."""
SHOWN: dict[Subject, int] = {"character": 1000, "vehicle": 1500, "concept": 2000, "style": 3000}
"""Pictures shown in all (guide §3)."""
SHOWN_POOR = 1600
"""The same for a character of poor pictures, half of them for regularisation."""
LONGER: dict[Difficulty, float] = {"C": 1.25, "D": 1.25, "E": 1.5, "F": 1.5, "G": 2, "H": 2, "I": 2}
"""Factor on the length for difficult subjects."""
MOST_SHOWN = 200
"""Showings of one picture at most."""
STYLE_RANK = {False: 96, True: 48}
"""Rank of a style (guide §3), and for bases of 1024 pixels, whose modules are wider."""
TEXT_RATES: dict[Subject, float] = {"character": 5e-5, "vehicle": 5e-5, "concept": 4.5e-5, "style": 4e-5}
"""Learning rates of the text encoder with AdamW (guide §3)."""
LARGER = 576
"""A resolution that is often better than SD1.x' own 512 (guide §7)."""
TOO_LONG = 4
"""So many times the usual number of pictures is too long for one epoch."""
UNEVEN = 1.5
"""Ratio of pictures in subfolders from which repeats balance them."""


@dataclass(frozen=True)
class Choices:
    """What follows from a folder, a base and wishes."""

    facts: FolderFacts
    wishes: Wishes
    base: Family
    may_balance: bool = True
    """Whether there may be a dataset for each subfolder."""

    # ------------------------------------------------------------------------------------------------------ what it is

    @property
    def is_pocket(self) -> bool:
        """Whether the base is the bundled one."""
        return self.base.checkpoint.path == pocket.BASE

    @property
    def is_large(self) -> bool:
        """Whether the base was made for pictures of 1024 pixels, like SDXL."""
        return self.base.native_size() >= 1024

    @cached_property
    def trigger(self) -> str:
        """The word that calls the subject."""
        if self.wishes.trigger:
            return self.wishes.trigger
        captions = self.facts.captions
        if captions.shared:
            return captions.shared
        if len(captions.folder_words) == 1:
            return captions.folder_words[0]
        for name in (self.facts.root.resolve().name, self.facts.root.resolve().parent.name):
            if name and not GENERIC.fullmatch(word := trigger_of(name)):
                return word
        return f"my{self.wishes.subject}"

    @property
    def file_name(self) -> str:
        """The name of the exported file."""
        return re.sub(r"[^\w.-]+", "-", self.trigger).strip("-.") or "lora"

    @cached_property
    def words(self) -> TriggerSettings:
        """How the trigger word comes into the captions."""
        return trigger_settings(self.trigger, self.facts.captions.texts)

    @property
    def is_regularised(self) -> bool:
        """Whether there are regularisation pictures, and they are of use."""
        return bool(self.facts.regularisation) and self.facts.captions.kind != "tags"

    # --------------------------------------------------------------------------------------------------------- its size

    @cached_property
    def sized(self) -> tuple[TrainingSize, dict[str, str]]:
        """What takes memory, and the reasons of what was changed to fit the card."""
        speed = self.wishes.aim == "training-speed"
        batch = 2 if speed and self.facts.trained >= 40 else 1
        size = TrainingSize(
            adapter="locon" if self.is_pocket else "lora",
            rank=16 if self.is_pocket else self.rank()[0],
            resolution=self.resolution()[0],
            optimizer="adamw" if speed or self.is_pocket else "prodigy",
            batch=4 if self.is_pocket else batch,
            text_encoder=len(self.base.text_encoders) < 2,
        )
        return fitted(size, self.base, self.wishes.vram)

    def rank(self) -> tuple[int, str]:
        """Return the rank and its reason."""
        wishes, letter = self.wishes, self.wishes.category
        category = CATEGORIES[letter]
        if wishes.subject == "style":
            rank, why = STYLE_RANK[self.is_large], "styles take 96 to 192; lower ranks combine better"
            rank = rank // 2 if wishes.aim == "training-speed" else rank
        else:
            ranks = {"training-speed": category.low, "quality": category.rank}
            rank = ranks[wishes.aim]
            why = f"category {letter} ({category.what}): {category.low} to {category.high}"
            if self.facts.captions.is_male and letter <= "D":
                after = CATEGORIES[_next(letter)]
                rank = 4 * math.ceil((rank * after.rank) ** 0.5 / 4)
                why = f"{why}, and half a category more for a male character"
            if self.is_large and rank > 8:
                rank, why = max(8, rank // 2), f"{why}; half of it, since this base's modules are wider"
        most = next((most for count, most in MOST if self.facts.trained < count), rank)
        if most < rank:
            rank, why = most, f"more would memorise {self.facts.trained} pictures"
        return rank, why

    def resolution(self) -> tuple[int, str]:
        """Return the resolution and its reason."""
        native, side = self.base.native_size(), self.facts.side
        if self.is_pocket:
            return native, "the pocket base's own"
        if side < 0.85 * native:
            lower = max(native * 5 // 8, side // 64 * 64) // 64 * 64
            return lower, f"the pictures are small (about {side}x{side}); enlarging teaches their blur"
        if native == 512 and side >= 1.25 * LARGER and self.wishes.aim == "quality":
            return LARGER, "a little above SD1.x' own 512 shows more detail, and the pictures are large enough"
        return native, f"the base's own; the pictures are about {side}x{side}"

    # -------------------------------------------------------------------------------------------------------- its length

    @property
    def showings(self) -> int:
        """Pictures shown in an epoch, repeats and regularisation included."""
        groups, once = self.facts.groups, self.facts.shown * self.own_repeats
        if self.is_balanced:
            once = sum(each.count * self.repeats(each) for each in groups) / sum(each.count for each in groups)
        subject = max(1, round(self.facts.trained * once))
        return subject * (2 if self.is_regularised else 1)

    def repeats(self, group: Group) -> int:
        """Return how often a picture of a subfolder is shown in an epoch, so that all subfolders count alike."""
        return max(1, round(max(each.count for each in self.facts.groups) / group.count))

    @property
    def is_balanced(self) -> bool:
        """Whether subfolders without repeats in their names have different numbers of pictures, which repeats balance."""
        counts = [each.count for each in self.facts.groups]
        plain = not any(each.is_named for each in self.facts.groups)
        uneven = plain and 2 <= len(counts) <= 8 and max(counts) >= UNEVEN * min(counts)
        return uneven and self.may_balance

    @property
    def own_repeats(self) -> int:
        """The repeats in the name of the folder itself, unless an epoch with them is so long that few would be left."""
        named = self.facts.repeats
        return named if named * self.facts.trained * self.facts.shown * FEW <= self.wanted else 1

    @property
    def wanted(self) -> float:
        """The number of pictures to show in all."""
        subject, poor = self.wishes.subject, self.wishes.quality == "poor"
        wanted: float = SHOWN_POOR if subject == "character" and poor else SHOWN[subject]
        wanted *= LONGER.get(self.wishes.category, 1.0) if subject != "style" else 1.0
        wanted *= 0.7 if self.wishes.aim == "training-speed" else 1.0
        return 2400 if self.is_pocket else wanted

    def epochs(self) -> tuple[int, str]:
        """Return the number of epochs and its reason."""
        count = min(whole_epochs(self.showings, self.wanted), MOST_SHOWN)
        shown = count * self.showings
        return (
            count,
            f"{shown} pictures shown in all; about {self.wanted:.0f} are usual for such a {self.wishes.subject}",
        )

    def length(self) -> tuple[str | int, str]:
        """Return the length of the training as it is written, and its reason: epochs, or steps where one is too long."""
        epochs, why = self.epochs()
        if epochs > 1 or self.showings <= TOO_LONG * self.wanted:
            return f"{epochs} epochs", why
        steps = round(self.wanted / self.sized[0].batch)
        return steps, f"less than an epoch, which is of {self.showings} pictures by the repeats in folders' names"

    @property
    def text_encoder_rate(self) -> float:
        """The text encoder's rate with AdamW."""
        rate = 4.5e-5 if self.wishes.quality == "poor" else TEXT_RATES[self.wishes.subject]
        return rate * self.sized[0].batch

    def clip_skip(self) -> tuple[int, str]:
        """Return the clip skip and its reason."""
        name = self.base.checkpoint.path.name
        if self.base.name != "sd15" or self.is_pocket:
            return 1, "this base has its own layer"
        if ANIME.search(name):
            return 2, f"{name} is an anime base, which are trained with the last layer but one"
        if self.facts.captions.is_booru and not PLAIN.search(name):
            return 2, "the captions are tags like 1girl, so the base is one of anime, probably; 1 for others"
        return 1, "2 is for anime bases that descend from NAI"

    def prompts(self) -> list[str]:
        """Return test prompts made from the captions: varied scenes, poses and clothes."""
        said = [text for text in self.facts.captions.texts if text]
        return list(dict.fromkeys(scenes(self.trigger, said)))

    def flip(self) -> tuple[bool, str]:
        """Return whether pictures are mirrored, and why."""
        if tag := asymmetric_tag(self.facts.captions.texts):
            return False, f"captions say {tag!r}: left and right differ"
        if self.wishes.subject == "style":
            return True, "also mirrored: twice the pictures, and a style has no left and right"
        if self.is_pocket:
            return True, "also mirrored: twice the pictures; false where left and right of the subject differ"
        return False, "true where left and right of the subject look the same: twice the pictures"


def _next(letter: Difficulty) -> Difficulty:
    letters = [*CATEGORIES]
    return letters[letters.index(letter) + 1]


def notes(choices: Choices) -> Iterator[str]:
    """Yield what the user should know or do about the pictures."""
    facts, captions = choices.facts, choices.facts.captions
    yield from _unseen(facts)
    if captions.kind == "none":
        yield f"no captions: every picture is learnt as {choices.trigger!r} alone; captions make the LoRA more flexible"
    if facts.transparent:
        yield f"{facts.transparent} pictures are transparent: they get a white background, so say it in their captions"
    if facts.grey and choices.wishes.subject != "style":
        yield f"{facts.grey} pictures have no colours: say monochrome in their captions, or the subject becomes grey"
    if choices.wishes.quality == "poor" and not facts.regularisation:
        yield "poor pictures: pictures of the class in a subfolder reg, with captions of the word alone, keep faults out"
    if facts.regularisation and not choices.is_regularised:
        yield f"{facts.regularisation} is not used: with captions, regularisation pictures hold the training back"
    if len({found.size for found in facts.pictures.values()}) == 1 and len(facts.pictures) > 20:
        yield "all pictures have one size; other shapes and distances of the subject would help"


def _unseen(facts: FolderFacts) -> Iterator[str]:
    if facts.unseen:
        seen = len(facts.pictures) - facts.unseen
        what = (
            "near-duplicates, transparent and grey ones are counted among these alone; the stage prepare looks at all"
        )
        yield f"only {seen} of {len(facts.pictures)} pictures were looked at, evenly spaced, as all would take long: {what}"
