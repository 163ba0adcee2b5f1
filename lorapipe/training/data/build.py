"""Build a dataset from a folder of images: scan and filter it, choose crops and variants, encode them into the cache."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe import kohya_folders
from lorapipe.errors import InputError
from lorapipe.pipeline.events import Log
from lorapipe.training.data import contact_sheet, messages
from lorapipe.training.data.augment import Augmentation, face
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.caption_audit import audit
from lorapipe.training.data.encoders import PICTURE_PARTS, encoder_digest
from lorapipe.training.data.filter import Rules, select, with_latents
from lorapipe.training.data.image_folder import ImageFolder
from lorapipe.training.data.latents import Scene, encode_latents, latents_key, missing_latents, picture_bytes, views_of
from lorapipe.training.data.manifest import ALPHA, Manifest, Mask, Picture
from lorapipe.training.data.masks import masks_in
from lorapipe.training.data.prefetch import prefetched
from lorapipe.training.data.progress import with_progress
from lorapipe.training.data.scan import ImageInfo, closer, examine
from lorapipe.training.device import Compute

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.models import Family, Model
    from lorapipe.picture_files import Contents, LeftOut
    from lorapipe.pipeline.context import Context
    from lorapipe.training.data.captions import Caption


def build_dataset(
    images: ImageFolder,
    rules: Rules,
    augment: Augmentation,
    base: Family,
    context: Context,
    *,
    min_pictures: int = 1,
    alpha_mask: bool = False,
) -> Manifest:
    """Encode a folder's images with the VAE of `base` into the cache of `context`, and return the manifest.

    With `alpha_mask`, an image's alpha channel is its mask. `InputError` if fewer than `min_pictures` are usable.
    """
    cache = Cache(context.cache)
    manifest = _select(images, rules, min_pictures, cache, context)
    manifest = _with_masks(manifest, images, alpha_mask, context)
    manifest = _with_variants(manifest, augment, context)
    return _encode(manifest, images, rules, base, cache, context)


def _select(images: ImageFolder, rules: Rules, min_pictures: int, cache: Cache, context: Context) -> Manifest:
    """Scan the folder and select its pictures; the manifest has no latents' keys yet."""
    root, found, background = images.root, images.contents(), rules.background
    examined = examine(root, found.pictures, cache, background)
    infos = list(with_progress(examined, len(found.pictures), "pictures examined", context))
    captioned = _captioned(images, found, infos, rules.class_word, context)
    manifest, complaints = select(infos, captioned, rules, lambda info: closer(root, info, cache, background))
    manifest = replace(manifest, not_used=found.left_out)
    for log in images.unused_files(found):
        context.emit(log)
    if not manifest.pictures:
        what = messages.no_pictures_message(manifest.left_out, len(found.pictures), found.left_out)
        raise InputError(what, where=str(root), cure=messages.fix_hint(len(found.pictures)))
    if len(manifest.pictures) < min_pictures:
        what = messages.too_few_message(len(manifest.pictures), min_pictures, manifest.left_out)
        raise InputError(what, where=str(root), cure="Add pictures, or ask for fewer (min_pictures).")
    named = kohya_folders.parse(root.name)
    if named and (named.repeats, named.word) != (rules.repeats, rules.class_word):
        context.emit(Log(text=messages.folder_name_ignored(root.name, named), level="warning"))
    for line in messages.warnings(manifest, complaints):
        context.emit(Log(text=line, level="warning"))
    for line in audit([picture.caption for picture in manifest.pictures]):
        context.emit(Log(text=f"captions, {line}."))
    return manifest


def _captioned(
    images: ImageFolder, found: Contents, infos: Iterable[ImageInfo | LeftOut], class_word: str, context: Context
) -> dict[str, Caption]:
    """Return the caption of every readable picture, after the edits, and say what these changed."""
    readable = [info.path for info in infos if isinstance(info, ImageInfo)]
    captioned, edits = images.caption_files(found).of_all(readable, class_word)
    for report in edits:
        head, *examples = report.lines()
        for line in (f"caption edit {head}", *examples):
            context.emit(Log(text=line))
    return captioned


def _with_masks(manifest: Manifest, images: ImageFolder, alpha_mask: bool, context: Context) -> Manifest:
    masks: dict[str, Mask] = {}
    if alpha_mask:
        masks = {picture.path: Mask(ALPHA, picture.digest) for picture in manifest.pictures}
    elif images.masks:
        masks = masks_in(images.masks, manifest.pictures, images.root)
    pictures = tuple(replace(picture, mask=masks.get(picture.path)) for picture in manifest.pictures)
    if images.masks and (bare := [picture.path for picture in pictures if picture.mask is None]):
        text = messages.pictures_listed(bare, "without a mask: trained on as a whole")
        context.emit(Log(text=text, level="warning"))
    return replace(manifest, pictures=pictures)


def _with_variants(manifest: Manifest, augment: Augmentation, context: Context) -> Manifest:
    if augment.face_crop and (bare := [picture.path for picture in manifest.pictures if face(picture) is None]):
        what = "without the face's place in their names (_cx_cy_w_h)"
        context.emit(Log(text=messages.pictures_listed(bare, what), level="warning"))
    varied = (replace(picture, variants=augment.variants_of(picture)) for picture in manifest.pictures)
    return replace(manifest, pictures=tuple(varied))


def _encode(
    manifest: Manifest, images: ImageFolder, rules: Rules, base: Family, cache: Cache, context: Context
) -> Manifest:
    """Encode what the cache lacks. If it lacks nothing, the base is not loaded."""
    compute = Compute.of(context.device, "auto")  # the default of a training, so that both share one model in memory

    def load() -> Model:
        return compute.model(base, context.model_cache)

    encoder = encoder_digest(base, PICTURE_PARTS, compute.dtype, cache, load)
    manifest = with_latents(manifest, lambda picture, variant: latents_key(picture, variant, rules.background, encoder))
    if missing := missing_latents(manifest.pictures, cache):
        model, scene = load(), Scene(images.root, rules.background, images.masks)
        work = encode_latents(missing, scene, model, cache)
        for _ in with_progress(work, len(missing), "pictures encoded", context):
            pass
        model.release(*PICTURE_PARTS)
    reused = len(views_of(manifest.pictures)) - len(missing)
    context.emit(Log(text=f"{len(missing)} pictures encoded, {reused} taken from the cache."))
    return manifest


def thumbnails(manifest: Manifest, images: Path) -> dict[str, Image]:
    """Return small pictures for the contact sheet, by path."""

    def draw(picture: Picture) -> Image:
        with picture_bytes(images, picture) as data:
            return contact_sheet.thumbnail(data, picture, manifest.background)

    pictures = contact_sheet.shown(manifest)
    return {picture.path: image for picture, image in zip(pictures, prefetched(draw, pictures), strict=True)}
