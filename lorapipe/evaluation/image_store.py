"""The pictures of a grid on disk: each a file named by its place, so that a killed evaluation goes on where it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.atomic import replacing
from lorapipe.checksum import is_whole_png
from lorapipe.evaluation.grid_plan import Cell

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Shot:
    """A picture's place in its cell: of which prompt, and which number of it; numbers from 0."""

    prompt: int
    number: int


@dataclass(frozen=True)
class Gallery:
    """The pictures of every cell. Each cell has `count` of each of `prompts`, in the order of `shots`."""

    folder: Path
    prompts: tuple[str, ...]
    count: int
    seed: int

    @property
    def shots(self) -> list[Shot]:
        """The places of a cell: prompt by prompt."""
        return [Shot(prompt, number) for prompt in range(len(self.prompts)) for number in range(self.count)]

    @property
    def whose(self) -> list[int]:
        """The prompt of each of a cell's pictures."""
        return [shot.prompt for shot in self.shots]

    def noise_seed(self, shot: Shot) -> int:
        """The same in every cell and for every prompt, so that what differs is the prompt's or the adapter's doing."""
        return self.seed + shot.number

    def drop_damaged(self, cell: Cell) -> list[Path]:
        """Delete what is there of a cell and is no whole picture; which these were."""
        there = [path for shot in self.shots if (path := self.path(cell, shot)).is_file()]
        damaged = [path for path in there if not is_whole_png(path)]
        for path in damaged:
            path.unlink()
        return damaged

    def missing(self, cell: Cell, batch: int) -> list[list[Shot]]:
        """What has yet to be sampled, in batches. A batch is made whole or again: its pictures belong together."""
        batches = [self.shots[start : start + batch] for start in range(0, len(self.shots), batch)]
        return [shots for shots in batches if not all(self.path(cell, shot).is_file() for shot in shots)]

    def path(self, cell: Cell, shot: Shot) -> Path:
        """Where a picture lies."""
        return self.folder / cell.slug / f"{shot.prompt + 1:02d}-{shot.number + 1}.png"

    def keep(self, cell: Cell, shots: Sequence[Shot], pictures: Sequence[Image]) -> None:
        """Write pictures aside and rename them into place."""
        for shot, picture in zip(shots, pictures, strict=True):
            path = self.path(cell, shot)
            with replacing(path) as part:
                picture.save(part, format="PNG")

    def pictures(self, cell: Cell) -> list[Image]:
        """A cell's pictures, in the order of `shots`."""
        from PIL import Image

        found = []
        for shot in self.shots:
            with Image.open(self.path(cell, shot)) as picture:
                found.append(picture.convert("RGB"))
        return found

    def row(self, cell: Cell, prompt: int) -> tuple[Image, ...]:
        """A cell's pictures of one prompt."""
        pictures = self.pictures(cell)
        return tuple(pictures[prompt * self.count : (prompt + 1) * self.count])
