"""The dataset's page: every picture with its caption, nothing from elsewhere, two languages."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from lorapipe.picture_files import LeftOut
from lorapipe.training.data import dataset_page
from lorapipe.training.data.contact_sheet import SHOWN
from lorapipe.training.data.images import Colour
from lorapipe.training.data.manifest import Manifest, Picture

NASTY = "penny, <script>alert(1)</script>, \"'&"


def picture(name: str, caption: str, **more: object) -> Picture:
    size = (512, 512)
    return replace(Picture(name, "ab" * 32, size, size, size, (0, 0), 1, caption, "file"), **more)


MANIFEST = Manifest(
    resolution=(512, 512),
    background=Colour((255, 255, 255)),
    pictures=(
        picture("a.png", "penny, red hat"),
        picture("b.png", NASTY, repeats=10, bucket=(448, 576)),
        picture("고양이/<i>.png", "", held_out=True),
    ),
    left_out=(
        LeftOut("copy.png", "duplicate", "the same picture as a.png"),
        LeftOut("bad.png", "unreadable", "the file is empty"),
        LeftOut("b\udcff.png", "unreadable", "its name is not valid text; rename it"),
    ),
)
THUMBNAILS = {each.path: Image.new("RGB", (32, 32), (9, 90, 200)) for each in MANIFEST.pictures}


class Read(HTMLParser):
    """The texts and the tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", list[tuple[str, dict[str, str | None]]]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_picture_is_shown_with_its_caption_as_text() -> None:
    read = Read(dataset_page.page(MANIFEST, THUMBNAILS))
    for each in MANIFEST.pictures:
        assert each.path in read.text and each.caption in read.text
    assert "script" not in {tag for tag, _ in read.tags}
    sources = [attributes["src"] or "" for tag, attributes in read.tags if tag == "img"]
    assert len(sources) == 4  # three pictures, and the one that the copy repeats
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not [tag for tag, attributes in read.tags if tag in ("link", "script", "iframe") or "href" in attributes]
    assert "the same picture as a.png" in read.text and "the file is empty" in read.text
    assert "1 picture without any caption" in read.text


def test_the_page_is_the_same_for_the_same_dataset_and_can_be_written(tmp_path: Path) -> None:
    for name in ("one.html", "two.html"):
        dataset_page.save(MANIFEST, THUMBNAILS, tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_of_thousands_of_pictures_some_are_shown_and_all_are_counted() -> None:
    pictures = tuple(picture(f"{number}.png", f"penny, tag {number}") for number in range(3000))
    manifest = replace(MANIFEST, pictures=pictures)
    shown = {each.path: THUMBNAILS["a.png"] for each in dataset_page.contact_sheet.shown(manifest)}
    page = dataset_page.page(manifest, shown)
    assert page.count("<figure>") == SHOWN and "3000" in page and len(page) < 2_000_000


@pytest.mark.parametrize("language", [code for code in dataset_page.LANGUAGES if code != "en"])
def test_every_text_is_translated(language: str) -> None:
    table = json.loads((dataset_page.HERE / f"dataset.{language}.json").read_text("utf-8"))
    template = (dataset_page.HERE / "dataset.html.j2").read_text("utf-8")
    assert {*re.findall(r"""\bt\("([^"]*)\"""", template)} == {*table}
    for english, other in table.items():
        assert sorted(re.findall(r"\{\d\}", english)) == sorted(re.findall(r"\{\d\}", other))
