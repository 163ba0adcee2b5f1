"""The dataset as a page, `dataset.html`: pictures by bucket with captions, what captions teach, copies, what was left out.

HTML that needs nothing else, from `dataset.html.j2` and `dataset.css`; the same dataset gives the same bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.atomic import write_text
from lorapipe.caption_analysis.analysis import CaptionAnalysis, analyse
from lorapipe.evaluation.translations import Translation, table_of
from lorapipe.picture_files import LeftOut
from lorapipe.training.data import contact_sheet, messages
from lorapipe.training.data.buckets import Pair
from lorapipe.training.data.duplicates import signature
from lorapipe.training.data.manifest import Manifest, Picture

if TYPE_CHECKING:
    from markupsafe import Markup
    from PIL.Image import Image

HERE = Path(__file__).parent
LANGUAGES = {"en": "English", "ko": "한국어"}
LISTED = 300
"""Most left-out files of a kind; left_out.json lists all."""


@dataclass(frozen=True)
class ShownBucket:
    """A bucket: its size, the number of its pictures, and those that are shown."""

    size: Pair
    count: int
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Copy:
    """A picture that was left out as a copy of another."""

    path: str
    reason: str
    original: str


def save(manifest: Manifest, thumbnails: Mapping[str, Image], path: Path) -> None:
    """Write the page atomically; `thumbnails` are those of `contact_sheet.shown(manifest)`, by path."""
    text = page(manifest, thumbnails)
    write_text(text.encode("utf-8", "replace").decode("utf-8"), path)  # a file's name may be no valid text


def page(manifest: Manifest, thumbnails: Mapping[str, Image]) -> str:
    """Return the page. All texts are escaped: names and captions are users'."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    korean = Translation(table_of(HERE / "dataset.ko.json"))

    def told(text: str, *values: object) -> Markup:
        """Return a text of ours in both languages, of which the page shows one."""
        both = (("en", text), ("ko", korean(text) or text))
        spans = (Markup('<span lang="{}">{}</span>').format(code, each.format(*values)) for code, each in both)
        return Markup("").join(spans)

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["t"] = told
    return environment.get_template("dataset.html.j2").render(
        manifest=manifest,
        buckets=_buckets(manifest, contact_sheet.shown(manifest)),
        analysis=_analysis(manifest, thumbnails),
        sources={path: _source(image) for path, image in thumbnails.items()},
        copies=_copies(manifest),
        left_out=[(kind, files[:LISTED], len(files)) for kind, files in _left_out(manifest)],
        warnings=[*messages.warnings(manifest, [])],
        css=Markup((HERE / "dataset.css").read_text(encoding="utf-8")),
        languages=LANGUAGES,
    )


def _analysis(manifest: Manifest, thumbnails: Mapping[str, Image]) -> CaptionAnalysis:
    captions = {picture.path: picture.caption.replace("\n", ", ") for picture in manifest.pictures}
    return analyse(captions, signatures={path: signature(image) for path, image in thumbnails.items()})


def _buckets(manifest: Manifest, shown: list[Picture]) -> list[ShownBucket]:
    counts: dict[Pair, int] = {}
    for picture in manifest.pictures:
        counts[picture.bucket] = counts.get(picture.bucket, 0) + 1
    by_number = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [ShownBucket(size, count, tuple(p for p in shown if p.bucket == size)) for size, count in by_number]


def _copies(manifest: Manifest) -> list[Copy]:
    """Return the copies; the reason ends with the name of the picture that was kept."""
    kept = {picture.path for picture in manifest.pictures}
    copies = (file for file in manifest.left_out if file.kind == "duplicate")
    named = ((file, file.reason.partition(" as ")[2]) for file in copies)
    return [Copy(file.path, file.reason, name if name in kept else "") for file, name in named]


def _left_out(manifest: Manifest) -> list[tuple[str, list[LeftOut]]]:
    others = [file for file in (*manifest.left_out, *manifest.not_used) if file.kind != "duplicate"]
    return messages.by_kind(others)


def _source(image: Image) -> str:
    """Return a small picture as a data URI."""
    stream = io.BytesIO()
    image.convert("RGB").save(stream, format="JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
