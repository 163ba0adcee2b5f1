"""Resolution and buckets, with kohya's rounding and its limits."""

from __future__ import annotations

import re

from lorapipe.config_import.mapping import Translation
from lorapipe.config_import.option_values import Options, converted

LEAST, MOST, STEP = 256, 1024, 64
"""kohya's defaults of `min_bucket_reso`, `max_bucket_reso` and `bucket_reso_steps`."""


def buckets(made: Translation, name: str, view: Options) -> None:
    """Write the sizes of a prepare stage."""
    size = resolution(view.value("resolution"))
    if size is not None:
        written = size[0] if size[0] == size[1] else f"{size[0]}x{size[1]}"
        made.draft.put(f"{name}.resolution", written, view.mark("resolution", usual=made.usual))
        view.settle("resolution", "used", f"{name}.resolution: {written}")
    else:
        view.settle("resolution", "refused", "it is no resolution; the base's own is used")
        if not view.given("resolution"):
            made.conflicts.append("no resolution is given, without which sd-scripts stops; the base's own is used")
    if not view.flag("enable_bucket"):
        made.draft.put(f"{name}.enable_bucket", False, view.mark("enable_bucket", usual=made.usual))
        view.settle("enable_bucket", "used", f"{name}.enable_bucket: false")
        for option in ("min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "bucket_no_upscale"):
            view.settle(option, "no effect", "enable_bucket is off: all pictures are cropped to the resolution")
        return
    made.draft.put(f"{name}.enable_bucket", True, view.mark("enable_bucket"))
    view.settle("enable_bucket", "used", f"{name}.enable_bucket: true")
    _put(made, name, view, "bucket_reso_steps", view.whole("bucket_reso_steps", STEP) or STEP)
    if view.flag("bucket_no_upscale"):
        _put(made, name, view, "bucket_no_upscale", True)
        for option in ("min_bucket_reso", "max_bucket_reso"):
            view.settle(
                option, "no effect", "with bucket_no_upscale pictures keep their size, and buckets have no bounds"
            )
        return
    view.settle("bucket_no_upscale", "no effect", "is off")
    _bounds(made, name, view, size)


def _bounds(made: Translation, name: str, view: Options, size: tuple[int, int] | None) -> None:
    """Write the bounds; sd-scripts stops where the resolution is not between them."""
    step = view.whole("bucket_reso_steps", STEP) or STEP
    for option, usual in (("min_bucket_reso", LEAST), ("max_bucket_reso", MOST)):
        value = view.whole(option, usual) or usual
        lowest, highest = (size or (value, value))[0:2]
        is_wrong = (value // step * step > min(lowest, highest) if option.startswith("min")
                    else -(-value // step) * step < max(lowest, highest))  # fmt: skip
        if size is not None and is_wrong:
            side = "above its shorter" if option.startswith("min") else "below its longer"
            what = f"{option} {value} does not fit the resolution {size[0]}x{size[1]}: it is {side} side"
            made.conflicts.append(f"{what}, and sd-scripts stops; left out")
            view.settle(option, "refused", f"{side} side of the resolution, where sd-scripts stops")
        else:
            _put(made, name, view, option, value)


def _put(made: Translation, name: str, view: Options, option: str, value: object) -> None:
    made.draft.put(f"{name}.{option}", value, view.mark(option, usual=made.usual))
    view.settle(option, "used", f"{name}.{option}: {value}".replace("True", "true"))


def resolution(value: object) -> tuple[int, int] | None:
    """Return (width, height) of `512`, `512,768`, `[512, 768]`, `512x768`; None if it is no resolution."""
    parts = value if isinstance(value, list) else re.split(r"[,x×\s]+", str(value or "").strip("()[] \"'"))
    sides = [side for part in parts if isinstance(side := converted(part, "whole"), int)]
    if len(sides) != len(parts) or len(sides) not in (1, 2) or not all(16 <= side <= 8192 for side in sides):
        return None
    return sides[0], sides[-1]
