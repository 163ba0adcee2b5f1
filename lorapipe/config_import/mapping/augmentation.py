"""Variants of pictures, and what sd-scripts cannot combine them with: cached latents and buckets."""

from __future__ import annotations

import re

from lorapipe.config_import.mapping import Translation
from lorapipe.config_import.option_values import Options, converted

CACHING = ("cache_latents", "cache_latents_to_disk")


def augmentation(made: Translation, name: str, view: Options) -> None:
    """Write `augment` of a prepare stage."""
    cached = any(view.flag(each) for each in CACHING)
    if view.flag("flip_aug"):
        made.draft.put(f"{name}.augment.flip", True, view.mark("flip_aug"))
        view.settle("flip_aug", "used", f"{name}.augment.flip: true")
    else:
        view.settle("flip_aug", "no effect", "is off")
    face = _face_crop(made, name, view, cached)
    for option, knob in (("color_aug", "colour"), ("random_crop", "random_crop")):
        if not view.flag(option):
            view.settle(option, "no effect", "is off")
        elif option == "random_crop" and face:
            view.settle(option, "refused", "face_crop_aug_range chooses where to crop")
        else:
            made.draft.put(f"{name}.augment.{knob}", True, view.mark(option))
            view.settle(option, "used", f"{name}.augment.{knob}: true")
            if cached:
                _say(made, f"{option} and cache_latents: sd-scripts stops, since it caches one latent of a picture. Here "
                           f"each variant is cached, so both work; `augment.{knob}` is on")  # fmt: skip
            if option == "color_aug":
                _say(made, "colours vary by 8 variants of each picture here, anew each time in the original", False)


def _face_crop(made: Translation, name: str, view: Options, cached: bool) -> bool:
    """Write the crop around faces, unless sd-scripts would leave it out: with buckets or cached latents it does nothing."""
    text = str(view.value("face_crop_aug_range") or "")
    if not text or text.lower() == "none":
        return False
    numbers = [converted(part, "number") for part in re.split(r"[,\s]+", text.strip("()[] \"'"))]
    bounds = [each for each in numbers if isinstance(each, float)]
    if len(bounds) != 2 or not 1 <= bounds[0] <= bounds[1] <= 100:
        view.settle("face_crop_aug_range", "refused", f"{text[:40]!r} is no range like 2.0,4.0")
        return False
    why = [what for what, holds in (("buckets", view.flag("enable_bucket")), ("cached latents", cached)) if holds]
    if why:
        reason = f"with {' and '.join(why)} sd-scripts does not crop around faces, and does not say so"
        view.settle("face_crop_aug_range", "no effect", reason)
        _say(made, f"face_crop_aug_range {text}: {reason}. It works here: `augment: {{face_crop: [{bounds[0]:g}, "
                   f"{bounds[1]:g}]}}` in the dataset, for pictures named …_cx_cy_w_h")  # fmt: skip
        return False
    made.draft.put(f"{name}.augment.face_crop", bounds, view.mark("face_crop_aug_range"))
    view.settle("face_crop_aug_range", "used", f"{name}.augment.face_crop: {bounds}")
    return True


def _say(made: Translation, text: str, is_conflict: bool = True) -> None:
    told = made.conflicts if is_conflict else made.differences
    if text not in told:
        told.append(text)
