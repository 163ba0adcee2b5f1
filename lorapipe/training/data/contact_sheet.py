"""One picture of the whole dataset as the trainer sees it: cut, by bucket, with captions, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.atomic import replacing
from lorapipe.drawing.text import width, wrap, write
from lorapipe.picture_files import LeftOut
from lorapipe.training.data.buckets import Pair
from lorapipe.training.data.images import Colour, glance
from lorapipe.training.data.manifest import Manifest, Picture

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN = 200
"""Pictures on a sheet at most; a few thousand pixels is what viewers open gladly."""
LISTED = 60
"""Left-out files on a sheet at most; left_out.json has all."""
COLUMNS, CELL, GAP, MARGIN, LINE = 8, 176, 14, 36, 17
WIDTH = 2 * MARGIN + COLUMNS * CELL + (COLUMNS - 1) * GAP
CAPTION_LINES, SMALL = 3, 13
PAPER, INK, FAINT, RULE, ACCENT, MAT = "#fbfaf8", "#22201d", "#86807a", "#ddd8d2", "#b4512a", "#efece7"


def shown(manifest: Manifest) -> list[Picture]:
    """The pictures that a sheet shows: by bucket, the fullest first, 200 at most."""
    full: dict[Pair, int] = {}
    for picture in manifest.pictures:
        full[picture.bucket] = full.get(picture.bucket, 0) + 1
    return sorted(manifest.pictures, key=lambda p: (-full[p.bucket], p.bucket, p.path))[:SHOWN]


def thumbnail(data: bytes, picture: Picture, background: Colour) -> Image:
    """What the trainer sees of a picture file, at the size that it has on the sheet.

    Made from a coarse decoding, by the same geometry. Buckets smaller than that are shown pixel by pixel: they are
    all that the trainer gets.
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
    """Draw the sheet as a JPEG, written aside and renamed; `thumbnails` by path of all that `shown(manifest)` names."""
    pen = _Pen()
    pen.title(manifest)
    pictures = shown(manifest)
    for start in range(0, len(pictures), COLUMNS):
        pen.row(pictures[start : start + COLUMNS], thumbnails)
    if len(manifest.pictures) > SHOWN:
        pen.note(f"… and {len(manifest.pictures) - SHOWN} more pictures; manifest.json lists them all.")
    pen.left_out(manifest.left_out)
    with replacing(path) as part:
        pen.sheet().save(part, format="JPEG", quality=88, subsampling=0)


def _size(bucket: Pair) -> str:
    return f"{bucket[0]} × {bucket[1]}"


class _Pen:
    """Lays the sheet out from top to bottom as a list of things to draw, then draws it, its height being known."""

    def __init__(self) -> None:
        self.y = MARGIN
        self._texts: list[tuple[int, int, str, int, str]] = []
        self._pictures: list[tuple[int, int, Image]] = []
        self._boxes: list[tuple[tuple[int, int, int, int], str]] = []

    def title(self, manifest: Manifest) -> None:
        facts = [
            f"{len(manifest.training)} to train on",
            f"{len(manifest.held_out)} held out",
            f"{len(manifest.left_out)} left out",
            f"{manifest.pictures_per_epoch} shown in an epoch",
        ]
        fullest = sorted(manifest.buckets().items(), key=lambda item: -item[1])
        buckets = [f"{count} of {_size(bucket)}" for bucket, count in fullest]
        self._text(MARGIN, "What the trainer sees", 26, INK)
        self.y += 36
        for line in ("   ·   ".join(facts), "buckets:  " + "   ·   ".join(buckets)):
            self._text(MARGIN, next(iter(wrap(line, WIDTH - 2 * MARGIN, 1, 15))), 15, FAINT)
            self.y += 22
        self.y += 14

    def heading(self, text: str, detail: str) -> None:
        self.y += 10
        self._boxes.append(((MARGIN, self.y, WIDTH - MARGIN, self.y + 1), RULE))
        self.y += 12
        self._text(MARGIN, text, 17, INK)
        self._text(MARGIN + width(text, 17) + 12, detail, 15, FAINT, down=2)
        self.y += 32

    def row(self, pictures: Sequence[Picture], thumbnails: Mapping[str, Image]) -> None:
        """Pictures side by side on mats of one height, under each its caption and what is special about it."""
        height = max(thumbnails[picture.path].height for picture in pictures)
        lines = 0
        for column, picture in enumerate(pictures):
            left, image = MARGIN + column * (CELL + GAP), thumbnails[picture.path]
            self._boxes.append(((left, self.y, left + CELL, self.y + height), MAT))
            self._pictures.append((left + (CELL - image.width) // 2, self.y + (height - image.height) // 2, image))
            lines = max(lines, self._under(picture, left, self.y + height + 5))
        self.y += height + 5 + lines * LINE + 12

    def _under(self, picture: Picture, left: int, top: int) -> int:
        special = (
            [_size(picture.bucket)]
            + (["held out"] if picture.held_out else [])
            + ([f"× {picture.repeats}"] if picture.repeats != 1 else [])
            + ([] if picture.caption else ["no caption"])
        )
        lines = ["  ·  ".join(special), *wrap(picture.caption, CELL, CAPTION_LINES, SMALL)]
        for number, line in enumerate(lines):
            ink = FAINT if number else ACCENT if len(special) > 1 else INK
            self._texts.append((left, top + number * LINE, line, SMALL, ink))
        return len(lines)

    def left_out(self, files: Sequence[LeftOut]) -> None:
        if not files:
            return
        self.heading("Left out", f"{len(files)}; nothing in your folder was touched")
        for file in files[:LISTED]:
            name = next(iter(wrap(file.path, 5 * CELL, 1, 14)), "")
            self._text(MARGIN, name, 14, INK)
            room = WIDTH - 2 * MARGIN - width(name, 14) - 16
            self._text(MARGIN + width(name, 14) + 16, next(iter(wrap(file.reason, room, 1, 14)), ""), 14, ACCENT)
            self.y += 21
        if len(files) > LISTED:
            self.note(f"… and {len(files) - LISTED} more; left_out.json lists them all.")

    def note(self, text: str) -> None:
        self._text(MARGIN, text, 14, FAINT)
        self.y += 24

    def _text(self, left: int, text: str, size: int, ink: str, down: int = 0) -> None:
        self._texts.append((left, self.y + down, text, size, ink))

    def sheet(self) -> Image:
        """The drawing."""
        import PIL.Image
        from PIL import ImageDraw

        sheet = PIL.Image.new("RGB", (WIDTH, self.y + MARGIN), PAPER)
        draw = ImageDraw.Draw(sheet)
        for box, colour in self._boxes:
            draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=colour)
        for x, y, image in self._pictures:
            sheet.paste(image, (x, y))
        for x, y, text, size, ink in self._texts:
            write(draw, x, y, text, size, ink)
        return sheet
