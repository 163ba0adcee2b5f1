"""Masks: which parts of a picture the training looks at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lorapipe.errors import InputError, LorapipeError, Problem
from lorapipe.training.data.captions import same_name
from lorapipe.training.data.manifest import ALPHA, Mask, Picture
from lorapipe.training.data.pictures import Unreadable, alpha, greys, resize
from lorapipe.training.data.scan import find, pictures_among

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.training.data.buckets import Fit

SKEWED = 0.02
"""A mask of another shape than its picture, by more than this share, is another picture's."""


def masks_in(folder: Path, pictures: Iterable[Picture]) -> dict[str, Mask]:
    """The masks of pictures, by the pictures' paths: files of the same name, whatever their kind, in the same subfolder."""
    files = {(file.parent, same_name(file.stem)): file for file in pictures_among(find(folder))}
    found: dict[str, Mask] = {}
    problems = []
    for picture in pictures:
        path = PurePosixPath(picture.path)
        file = files.get((path.parent, same_name(path.stem)))
        if file is None:
            continue
        data = (folder / file).read_bytes()
        if complaint := _complaint(data, picture):
            problems.append(Problem(complaint, str(folder / file), "Make it anew from the picture, or delete it."))
        found[picture.path] = Mask(str(file), hashlib.sha256(data).hexdigest())
    if problems:
        raise InputError(problems)
    return found


def _complaint(data: bytes, picture: Picture) -> str:
    try:
        width, height = greys(data).size
    except Unreadable as reason:
        return f"is no mask: {reason}."
    wanted = picture.size[0] / picture.size[1]
    if abs(width / height / wanted - 1) > SKEWED:
        return f"is {width}x{height}, its picture {picture.size[0]}x{picture.size[1]}: not the same shape."
    return ""


def mask_of(picture: Picture, data: bytes, masks: Path | None, fit: Fit) -> Image:
    """The mask of a picture whose file is `data`, cut as the picture is: mode L, 255 where the training looks."""
    if picture.mask is None:
        raise ValueError(f"{picture.path} has no mask")
    if picture.mask.path == ALPHA:
        whole = alpha(data)
    else:
        assert masks is not None, "masks of files have a folder"
        whole = _grey(masks / picture.mask.path, picture.mask.digest)
    return resize(whole, fit.resized).crop(fit.box)


def _grey(path: Path, digest: str) -> Image:
    cure = "Run the pipeline again; prepare will take it up."
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LorapipeError(f"cannot be opened ({error.strerror}).", where=str(path), cure=cure) from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise LorapipeError("this mask was changed since it was prepared.", where=str(path), cure=cure)
    return greys(data)
