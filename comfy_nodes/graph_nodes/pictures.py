"""Pictures of the graph as a folder to train on: sampled, loaded or edited by other nodes, with masks and captions.

The folder's name has a digest of its content, so the same pictures are the same dataset, and nothing is written twice.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.atomic import replacing, write_text
from lorapipe.errors import InputError

from ..graph_call import GraphCall, Shown
from ..image_tensors import pictures_of
from ..node import Input, Node, Output
from ..widgets import Widget

if TYPE_CHECKING:
    from PIL.Image import Image

NODE = Node(
    id="LorapipePictures",
    title="Pictures (lorapipe)",
    category="lorapipe",
    help="Save pictures of the graph as a folder of lorapipe's and give it to Prepare as its images: batches and lists, "
    "each with its caption and mask. The same pictures are saved once.",
    role="graph",
    search_words=("dataset", "save images", "training images"),
    inputs=(
        Input("images", "the pictures: a batch, or a list of batches", True, "IMAGE"),
        Input("masks", "a mask for each picture, or one for all: the loss counts where it is white", False, "MASK"),
        Input(
            "captions",
            "The captions, one per line, or a list: one for each picture, or one for all of them.",
            widget=Widget("lines", []),
        ),
        Input("name", "The folder's name, before a digest of its content.", widget=Widget("text", "pictures")),
    ),
    outputs=(
        Output("pictures", "LORAPIPE_PICTURES", "The folder: link it to images_from of Prepare."),
        Output("masks", "STRING", "The folder of the masks, for `masks` of Prepare; empty if there are none."),
        Output("path", "STRING", "The folder of the pictures."),
    ),
    takes_lists=True,
)
FOLDER = "pictures"
"""The folder of all such folders, in the project."""


async def execute(call: GraphCall) -> Shown:
    """Save the pictures."""
    given = {name: value if isinstance(value, list) else [value] for name, value in call.given.items()}
    pictures, masks = _all(given["images"]), _all(given.get("masks", []))
    texts = given.get("captions", [])
    captions = [line for text in texts for line in _lines(text, len(texts))]
    of_each = (_for_each(masks, pictures, "masks"), _for_each(captions, pictures, "captions"))
    saved = _saved(call.where.project / FOLDER, _name(given.get("name", [])), pictures, *of_each)
    call.say(f"{len(pictures)} pictures in {saved.name}")
    with_masks = str(_masks_of(saved)) if masks else ""
    return Shown({"pictures": {"stages": {}, "value": saved.as_posix()}, "masks": with_masks, "path": str(saved)})


def _all(batches: list[Any]) -> list[Image]:
    return [each for batch in batches if batch is not None for each in pictures_of(batch)]


def _name(given: list[Any]) -> str:
    """Return a folder's name of what the user has written."""
    return re.sub(r"[^\w-]+", "-", str(next(iter(given), "") or "")).strip("-") or FOLDER


def _lines(text: object, count: int) -> list[str]:
    """Return the captions in a text: its lines where it is the only one, else itself on one line."""
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return lines if count == 1 else [" ".join(lines)]


def _for_each(found: Sequence[object], pictures: Sequence[object], name: str) -> Sequence[object]:
    """Return one item for each picture. `InputError` if there are neither as many, nor one, nor none."""
    if len(found) == 1:
        return list(found) * len(pictures)
    if found and len(found) != len(pictures):
        what = f"there are {len(found)}, and {len(pictures)} pictures."
        raise InputError(what, where=name, cure="Give one for each picture, or one for all.")
    return found


def _saved(
    parent: Path, name: str, pictures: Sequence[Image], masks: Sequence[object], captions: Sequence[object]
) -> Path:
    """Return the folder with these, saved if it is not there yet."""
    folder = parent / f"{name}-{_digest([*pictures, *masks], captions)}"
    if folder.is_dir():
        return folder
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for place, picture in enumerate(pictures, start=1):
        stem = f"{place:04d}"
        _save(picture, part / f"{stem}.png")
        if captions:
            write_text(f"{captions[place - 1]}\n", part / f"{stem}.txt")
        if masks:
            _save(masks[place - 1], _masks_of(folder) / f"{stem}.png")
    part.rename(folder)
    return folder


def _save(picture: object, file: Path) -> None:
    from PIL.Image import Image

    assert isinstance(picture, Image)
    with replacing(file) as part:
        picture.save(part, format="PNG")


def _masks_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-masks")


def _digest(pictures: Iterable[object], captions: Iterable[object]) -> str:
    from PIL.Image import Image

    digest = hashlib.sha256("\n".join(map(str, captions)).encode())
    for each in pictures:
        assert isinstance(each, Image)
        digest.update(f"{each.mode}{each.size}".encode() + each.tobytes())
    return digest.hexdigest()[:12]
