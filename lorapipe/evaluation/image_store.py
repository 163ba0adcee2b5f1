"""The pictures of a grid on disk, each a file named by its cell and slot: a killed evaluation resumes from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.atomic import replacing
from lorapipe.checksum import is_whole_png
from lorapipe.evaluation.grid_plan import Cell

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_OF_A_PROMPT = 1000
"""More pictures of a prompt than there ever are: how far apart the noises of two prompts begin."""


@dataclass(frozen=True)
class ImageSlot:
    """A picture's place in its cell: of which prompt, and which number of it; numbers from 0."""

    prompt: int
    number: int


@dataclass(frozen=True)
class ImageStore:
    """The pictures of every cell. Each cell has `count` of each of `prompts`, in the order of `slots`.

    `first` of these, if it is not 0, were there before the others were wanted: the rest is sampled in batches of its own.
    """

    folder: Path
    prompts: tuple[str, ...]
    count: int
    seed: int
    first: int = 0

    def doubled(self) -> ImageStore:
        """The same with twice as many pictures of each prompt."""
        return replace(self, count=2 * self.count, first=self.first or self.count)

    def of_prompts(self, most: int) -> ImageStore:
        """The same pictures, of the first prompts only."""
        return replace(self, prompts=self.prompts[:most])

    @property
    def slots(self) -> list[ImageSlot]:
        """The places of a cell: prompt by prompt."""
        return [ImageSlot(prompt, number) for prompt in range(len(self.prompts)) for number in range(self.count)]

    @property
    def prompt_of(self) -> list[int]:
        """The index of the prompt of each of a cell's pictures."""
        return [slot.prompt for slot in self.slots]

    def noise_seed(self, slot: ImageSlot) -> int:
        """The seed of a slot's noise: the same in every cell, so that only these make a difference, and of no other slot."""
        return self.seed + slot.number + MOST_OF_A_PROMPT * slot.prompt

    def drop_damaged(self, cell: Cell) -> list[Path]:
        """Delete the damaged picture files of a cell, and return their paths."""
        there = [path for slot in self.slots if (path := self.path(cell, slot)).is_file()]
        damaged = [path for path in there if not is_whole_png(path)]
        for path in damaged:
            path.unlink()
        return damaged

    def missing(self, cell: Cell, batch: int) -> list[list[ImageSlot]]:
        """The slots still to be sampled, in batches; a batch lacking any picture is sampled whole again."""
        batches = [slots[start : start + batch] for slots in self._rounds() for start in range(0, len(slots), batch)]
        return [slots for slots in batches if not all(self.path(cell, slot).is_file() for slot in slots)]

    def _rounds(self) -> Iterator[list[ImageSlot]]:
        """The slots by when they were wanted: the first, then each time as many as there were."""
        start, end = 0, self.first or self.count
        while start < self.count:
            yield [slot for slot in self.slots if start <= slot.number < end]
            start, end = end, 2 * end

    def path(self, cell: Cell, slot: ImageSlot) -> Path:
        """The file of a picture."""
        return self.folder / cell.slug / f"{slot.prompt + 1:02d}-{slot.number + 1}.png"

    def keep(self, cell: Cell, slots: Sequence[ImageSlot], pictures: Sequence[Image]) -> None:
        """Write pictures aside and rename them into place."""
        for slot, picture in zip(slots, pictures, strict=True):
            path = self.path(cell, slot)
            with replacing(path) as part:
                picture.save(part, format="PNG")

    def pictures(self, cell: Cell) -> list[Image]:
        """A cell's pictures, in the order of `slots`."""
        from PIL import Image

        found = []
        for slot in self.slots:
            with Image.open(self.path(cell, slot)) as picture:
                found.append(picture.convert("RGB"))
        return found

    def row(self, cell: Cell, prompt: int) -> tuple[Image, ...]:
        """A cell's pictures of one prompt."""
        pictures = self.pictures(cell)
        return tuple(pictures[prompt * self.count : (prompt + 1) * self.count])


def first_picture(folder: Path, cell: Cell, prompt: int) -> Image | None:
    """The first picture of a prompt, by its index, in the pictures of a finished evaluation; None if it is not there."""
    from PIL import Image

    try:
        with Image.open(folder / cell.slug / f"{prompt + 1:02d}-1.png") as picture:
            return picture.convert("RGB")
    except OSError:
        return None
