"""Loss masks: greyscale images that weight the loss by position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.errors import InputError, LorapipeError, Problem
from lorapipe.picture_files import is_picture
from lorapipe.picture_files.caption_names import same_name
from lorapipe.picture_files.layouts import folder_of, mask_stems, stem_of
from lorapipe.training.data.image_folder import find
from lorapipe.training.data.image_reader import Unreadable, reading
from lorapipe.training.data.images import alpha, glance, greys
from lorapipe.training.data.manifest import ALPHA, Mask, Picture

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.training.data.buckets import Fit

SKEWED = 0.02
"""Relative difference of aspect ratio above which a mask does not belong to its picture."""


def masks_in(folder: Path, pictures: Iterable[Picture], images: Path | None = None) -> dict[str, Mask]:
    """Return the masks of pictures by the pictures' paths: files of the same name in the same subfolder, in any format.

    If `folder` is also the folder of the pictures (`images`), masks are named as in OneTrainer and other programs:
    `cat-masklabel.png`, `cat-mask.png`, `cat_mask.png`. `InputError` for masks that cannot be read or do not fit.
    """
    names = sorted(filter(is_picture, find(folder)[0]), reverse=True)
    files = {(folder_of(name), same_name(stem_of(name))): name for name in names}
    beside = images is not None and folder.resolve() == images.resolve()
    found: dict[str, Mask] = {}
    problems = []
    for picture in pictures:
        stem = same_name(stem_of(picture.path))
        keys = ((folder_of(picture.path), each) for each in (() if beside else (stem,)) + mask_stems(stem))
        file = next((files[key] for key in keys if key in files), None)
        if file is None:
            continue
        try:
            with reading(folder / file) as data:
                complaint, digest = _complaint(data, picture), hashlib.sha256(data).hexdigest()
        except Unreadable as reason:
            complaint, digest = f"is not a mask: {reason}.", ""
        if complaint:
            problems.append(Problem(complaint, str(folder / file), "Make it again from the picture, or delete it."))
        found[picture.path] = Mask(file, digest)
    if problems:
        raise InputError(problems)
    return found


def _complaint(data: bytes, picture: Picture) -> str:
    width, height = glance(data, 16)[0]
    wanted = picture.size[0] / picture.size[1]
    if abs(width / height / wanted - 1) > SKEWED:
        return f"is {width}x{height}, its picture {picture.size[0]}x{picture.size[1]}: not the same shape."
    return ""


def mask_of(picture: Picture, data: bytes, masks: Path | None, fit: Fit) -> Image:
    """Return a picture's mask, cropped like the picture: mode L, 255 is a loss weight of 1. `data` is the picture's file."""
    if picture.mask is None:
        raise ValueError(f"{picture.path} has no mask")
    if picture.mask.path == ALPHA:
        whole = alpha(data, fit.resized)
    else:
        assert masks is not None, "masks from files need a folder"
        whole = _grey(masks / picture.mask.path, picture.mask.digest, fit)
    return whole.crop(fit.box)


def _grey(path: Path, digest: str, fit: Fit) -> Image:
    cure = "Run the pipeline again; prepare will take it up."
    try:
        with reading(path) as data:
            if hashlib.sha256(data).hexdigest() != digest:
                raise LorapipeError("this mask was changed since it was prepared.", where=str(path), cure=cure)
            return greys(data, fit.resized)
    except Unreadable as reason:
        raise LorapipeError(f"this mask: {reason}.", where=str(path), cure=cure) from None
