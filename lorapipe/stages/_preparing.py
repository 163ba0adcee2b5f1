"""What `prepare` does with a folder: choose pictures, decide how they are shown, encode them, draw them small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from lorapipe import kohya_folders
from lorapipe.errors import InputError, Problem
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log
from lorapipe.stages import _telling

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from lorapipe.models import Model
    from lorapipe.picture_files import Contents
    from lorapipe.stages.prepare import Prepare
    from lorapipe.training.data.cache import Cache
    from lorapipe.training.data.manifest import Manifest, Picture


def no_folder(path: Path) -> Problem | None:
    """What is wrong with a path where a folder is wanted; None where one is there."""
    if path.is_dir():
        return None
    packed = path.suffix.lower() in (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".cbz")
    cure = "Unpack it, and name the folder." if packed else "Name the folder it lies in."
    return Problem(f"{path.name} is a file, not a folder of pictures.", cure=cure)


def contents(prepare: Prepare) -> Contents:
    """What the files of the folder are, by their names; `InputError` where it is no folder."""
    from lorapipe.training.data.scan import look_through

    root = prepare.images.path
    if problem := no_folder(root):
        raise InputError(replace(problem, where=str(root)))
    inside = prepare.masks is not None and prepare.masks.path.resolve() != root.resolve()
    apart = [prepare.masks.path] if prepare.masks and inside else []
    return look_through(root, prepare.exclude, prepare.caption_extensions, apart)


def beside(prepare: Prepare, found: Contents) -> Iterator[Log]:
    """What is to be told of files that lie there and are not used."""
    from lorapipe.training.data.scan import captions_beside

    root = prepare.images.path
    yield from _telling.not_used(found, str(root))
    folder, count = captions_beside(root, found.pictures, prepare.caption_extensions)
    if folder and not found.captions:
        files = "1 file" if count == 1 else f"{count} files"
        what = f"{files} in the folder {folder} beside {root.name} named like pictures, not read"
        yield Log(text=f"{what}: captions are read from cat.txt beside cat.png", level="warning")


def selected(prepare: Prepare, context: Context, cache: Cache) -> Manifest:
    """Scan, examine, choose; the latents' keys are not there yet."""
    from lorapipe.training.data.captions import CaptionFiles
    from lorapipe.training.data.filter import Rules, select
    from lorapipe.training.data.scan import closer, examine

    buckets, root, found = prepare.buckets(), prepare.images.path, contents(prepare)
    looking = examine(root, found.pictures, cache, prepare.background)
    looks = list(_telling.followed(looking, len(found.pictures), "pictures examined", context))
    rules = Rules(
        buckets=buckets,
        min_size=prepare.smallest(buckets),
        duplicate_tolerance=prepare.duplicate_tolerance,
        held_out=prepare.held_out,
        repeats=prepare.repeats,
        class_word=prepare.class_word,
        background=prepare.background,
    )
    captions = CaptionFiles(root, found.captions, prepare.caption_lines)
    manifest, complaints = select(looks, captions, rules, lambda look: closer(root, look, cache, prepare.background))
    manifest = replace(manifest, not_used=found.left_out)
    for text in beside(prepare, found):
        context.emit(text)
    if not manifest.pictures:
        what = _telling.nothing(manifest.left_out, len(found.pictures), found.left_out)
        raise InputError(what, where=str(root), cure=_telling.cure(len(found.pictures)))
    if len(manifest.pictures) < prepare.min_pictures:
        what = _telling.too_few(len(manifest.pictures), prepare.min_pictures, manifest.left_out)
        raise InputError(what, where=str(root), cure="Add pictures, or ask for fewer (min_pictures).")
    named = kohya_folders.parse(root.name)
    if named and (named.repeats, named.word) != (prepare.repeats, prepare.class_word):
        context.emit(Log(text=_telling.unread(root.name, named), level="warning"))
    for line in _telling.warnings(manifest, complaints):
        context.emit(Log(text=line, level="warning"))
    return manifest


def shown(prepare: Prepare, manifest: Manifest, context: Context) -> Manifest:
    """The manifest with the pictures' masks and the ways of showing them."""
    from lorapipe.training.data.augment import face
    from lorapipe.training.data.manifest import ALPHA, Mask
    from lorapipe.training.data.masks import masks_in

    masks: dict[str, Mask] = {}
    if prepare.alpha_mask:
        masks = {picture.path: Mask(ALPHA, picture.digest) for picture in manifest.pictures}
    elif prepare.masks:
        masks = masks_in(prepare.masks.path, manifest.pictures, prepare.images.path)
    pictures = tuple(replace(picture, mask=masks.get(picture.path)) for picture in manifest.pictures)
    if prepare.masks and (bare := [picture.path for picture in pictures if picture.mask is None]):
        context.emit(Log(text=_telling.those(bare, "without a mask, looked at whole"), level="warning"))
    if prepare.augment.face_crop and (bare := [picture.path for picture in pictures if face(picture) is None]):
        what = "whose names do not say where the face is (_cx_cy_w_h)"
        context.emit(Log(text=_telling.those(bare, what), level="warning"))
    varied = (replace(picture, variants=prepare.augment.variants_of(picture)) for picture in pictures)
    return replace(manifest, pictures=tuple(varied))


def encoded(prepare: Prepare, manifest: Manifest, context: Context, cache: Cache) -> Manifest:
    """Encode what the cache lacks. The base is not even loaded where it lacks nothing."""
    from lorapipe.training.data.filter import with_latents
    from lorapipe.training.data.latents import (
        PICTURE_PARTS,
        Scene,
        encode_latents,
        encoder_digest,
        latents_key,
        missing_latents,
        views_of,
    )
    from lorapipe.training.device import Compute

    compute = Compute.of(context.device, "auto")  # as training's default, so that a cached model serves both

    def load() -> Model:
        return compute.model(prepare.base, context.warm)

    encoder = encoder_digest(prepare.base, PICTURE_PARTS, compute.dtype, cache, load)
    manifest = with_latents(
        manifest, lambda picture, variant: latents_key(picture, variant, prepare.background, encoder)
    )
    missing = missing_latents(manifest.pictures, cache)
    if missing:
        model = load()
        scene = Scene(prepare.images.path, prepare.background, prepare.masks.path if prepare.masks else None)
        work = encode_latents(missing, scene, model, cache)
        for _ in _telling.followed(work, len(missing), "pictures encoded", context):
            pass
        model.release(*PICTURE_PARTS)
    reused = len(views_of(manifest.pictures)) - len(missing)
    context.emit(Log(text=f"{len(missing)} pictures encoded, {reused} taken from the cache."))
    return manifest


def thumbnails(prepare: Prepare, manifest: Manifest) -> dict[str, Image]:
    """Small pictures for the contact sheet, by path."""
    from lorapipe.training.data.contact_sheet import shown, thumbnail
    from lorapipe.training.data.latents import picture_bytes
    from lorapipe.training.data.prefetch import prefetched

    def draw(picture: Picture) -> Image:
        with picture_bytes(prepare.images.path, picture) as data:
            return thumbnail(data, picture, prepare.background)

    pictures = shown(manifest)
    return {picture.path: image for picture, image in zip(pictures, prefetched(draw, pictures), strict=True)}
