"""The contact sheet: the dataset as the trainer sees it, cropped and sorted by bucket, with captions and left-out files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.atomic import replacing
from lorapipe.drawing.sheet import ACCENT, FAINT, INK, MAT, Sheet
from lorapipe.drawing.text import width, wrap
from lorapipe.picture_files import LeftOut
from lorapipe.training.data.buckets import Pair
from lorapipe.training.data.images import Colour, glance
from lorapipe.training.data.manifest import Manifest, Picture

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN = 200
"""Most pictures on a sheet: larger images open slowly in viewers."""
LISTED = 60
"""Most left-out files on a sheet; left_out.json lists all."""
COLUMNS, CELL, GAP, MARGIN, LINE = 8, 176, 14, 36, 17
WIDTH = 2 * MARGIN + COLUMNS * CELL + (COLUMNS - 1) * GAP
CAPTION_LINES, SMALL = 3, 13


def shown(manifest: Manifest) -> list[Picture]:
    """Return the pictures that the sheet shows: by bucket, the fullest first, at most `SHOWN`."""
    full: dict[Pair, int] = {}
    for picture in manifest.pictures:
        full[picture.bucket] = full.get(picture.bucket, 0) + 1
    return sorted(manifest.pictures, key=lambda p: (-full[p.bucket], p.bucket, p.path))[:SHOWN]


def thumbnail(data: bytes, picture: Picture, background: Colour) -> Image:
    """Return the part of a picture file that the trainer sees, at its size on the sheet.

    It is cropped as in training, but from a coarsely decoded image. Buckets smaller than a cell are enlarged without
    interpolation, so that the sheet shows the pixels that the trainer gets.
    """
    from PIL.Image import Resampling

    _, whole = glance(data, CELL, background)
    along, down = whole.width / picture.resized[0], whole.height / picture.resized[1]
    left, top, right, bottom = picture.fit.box
    scale = CELL / max(picture.bucket)
    size = (max(1, round(picture.bucket[0] * scale)), max(1, round(picture.bucket[1] * scale)))
    seen = size if scale < 1 else picture.bucket
    view = whole.resize(seen, Resampling.LANCZOS, box=(left * along, top * down, right * along, bottom * down))
    return view.resize(size, Resampling.NEAREST)


def save(manifest: Manifest, thumbnails: Mapping[str, Image], path: Path) -> None:
    """Draw the sheet as a JPEG at `path`, written atomically; `thumbnails` are those of `shown(manifest)`, by path."""
    layout = _Layout()
    layout.title(manifest)
    pictures = shown(manifest)
    for start in range(0, len(pictures), COLUMNS):
        layout.row(pictures[start : start + COLUMNS], thumbnails)
    if len(manifest.pictures) > SHOWN:
        layout.note(f"… and {len(manifest.pictures) - SHOWN} more pictures; manifest.json lists them all.")
    layout.left_out(manifest.left_out)
    with replacing(path) as part:
        layout.sheet.drawn((WIDTH, layout.bottom + MARGIN)).save(part, format="JPEG", quality=88, subsampling=0)


def _size(bucket: Pair) -> str:
    return f"{bucket[0]} × {bucket[1]}"


class _Layout:
    """Lays out the sheet from top to bottom."""

    def __init__(self) -> None:
        self.bottom = MARGIN
        self.sheet = Sheet()

    def title(self, manifest: Manifest) -> None:
        facts = [
            f"{len(manifest.training)} to train on",
            f"{len(manifest.held_out)} held out",
            f"{len(manifest.left_out)} left out",
            f"{manifest.pictures_per_epoch} shown in an epoch",
        ]
        fullest = sorted(manifest.buckets().items(), key=lambda item: -item[1])
        buckets = [f"{count} of {_size(bucket)}" for bucket, count in fullest]
        lines = ("   ·   ".join(facts), "buckets:  " + "   ·   ".join(buckets))
        self.sheet.text(MARGIN, self.bottom, "What the trainer sees", 26)
        cut = [next(iter(wrap(line, WIDTH - 2 * MARGIN, 1, 15))) for line in lines]
        self.sheet.lines(MARGIN, self.bottom + 36, cut, 15, 22, FAINT)
        self.bottom += 94

    def row(self, pictures: Sequence[Picture], thumbnails: Mapping[str, Image]) -> None:
        """Draw pictures side by side on mats of one height, each with its bucket, notes and caption below it."""
        height = max(thumbnails[picture.path].height for picture in pictures)
        lines = 0
        for column, picture in enumerate(pictures):
            left, image = MARGIN + column * (CELL + GAP), thumbnails[picture.path]
            self.sheet.box(left, self.bottom, left + CELL, self.bottom + height, MAT)
            x, y = left + (CELL - image.width) // 2, self.bottom + (height - image.height) // 2
            self.sheet.picture(x, y, image)
            lines = max(lines, self._legend(picture, left, self.bottom + height + 5))
        self.bottom += height + 5 + lines * LINE + 12

    def _legend(self, picture: Picture, left: int, top: int) -> int:
        special = (
            [_size(picture.bucket)]
            + (["held out"] if picture.held_out else [])
            + ([f"× {picture.repeats}"] if picture.repeats != 1 else [])
            + ([] if picture.caption else ["no caption"])
        )
        caption = wrap(picture.caption, CELL, CAPTION_LINES, SMALL)
        self.sheet.text(left, top, "  ·  ".join(special), SMALL, ACCENT if len(special) > 1 else INK)
        self.sheet.lines(left, top + LINE, caption, SMALL, LINE, FAINT)
        return 1 + len(caption)

    def left_out(self, files: Sequence[LeftOut]) -> None:
        if not files:
            return
        self.sheet.rule(MARGIN, self.bottom + 10, WIDTH - 2 * MARGIN)
        detail = f"{len(files)}; nothing in your folder was touched"
        self.sheet.noted(MARGIN, self.bottom + 22, "Left out", 17, detail, 15, 12)
        self.bottom += 54
        for file in files[:LISTED]:
            name = next(iter(wrap(file.path, 5 * CELL, 1, 14)), "")
            left = MARGIN + width(name, 14) + 16
            self.sheet.text(MARGIN, self.bottom, name, 14)
            reason = next(iter(wrap(file.reason, WIDTH - MARGIN - left, 1, 14)), "")
            self.sheet.text(left, self.bottom, reason, 14, ACCENT)
            self.bottom += 21
        if len(files) > LISTED:
            self.note(f"… and {len(files) - LISTED} more; left_out.json lists them all.")

    def note(self, text: str) -> None:
        self.sheet.text(MARGIN, self.bottom, text, 14, FAINT)
        self.bottom += 24
