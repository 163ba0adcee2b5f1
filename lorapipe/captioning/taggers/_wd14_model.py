"""A loaded WD14 tagger: pictures on a white square to tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lorapipe.captioning.taggers import LoadedTagger, Tagging
from lorapipe.captioning.taggers._onnx_session import OnnxSession, open_onnx
from lorapipe.captioning.taggers._wd14_folder import CHARACTER, MODEL, RATING, TAGS, listed_tags
from lorapipe.captioning.tags import joined, spaced
from lorapipe.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

USUAL_SIDE = 448
"""Side of the input of WD14's models, where a model does not say."""
NO_TAGGER = "WD14's taggers take (N, H, H, 3), or (N, 3, H, H)."
Channels = Literal["auto", "bgr", "rgb"]


@dataclass(frozen=True)
class Thresholds:
    """Least probabilities of general tags and of characters, and whether underscores become spaces."""

    general: float
    character: float
    spaces: bool


class Wd14Model(LoadedTagger):
    """The model of a folder."""

    def __init__(self, folder: Path, device: str, thresholds: Thresholds, channels: Channels = "auto") -> None:
        import numpy as np

        self._file = folder / MODEL
        tags = listed_tags(folder)
        self._session = open_onnx(self._file, device)
        self.notes = self._session.notes
        self._side, self._planes = _layout(self._session, self._file)
        order = self._session.metadata.get("channel_order", "bgr").lower() if channels == "auto" else channels
        self._reversed = order != "rgb"
        if self._session.outputs not in (None, len(tags)):
            what = f"gives {self._session.outputs} numbers, and {TAGS} has {len(tags)} tags."
            raise InputError(what, where=str(self._file), cure="They are of different taggers, or a file is damaged.")
        self._names = [spaced(each.name) if thresholds.spaces else each.name for each in tags]
        self._characters = np.array([each.category == CHARACTER for each in tags], bool)
        least = np.where(self._characters, thresholds.character, thresholds.general)
        is_dropped = np.array([each.category == RATING or not each.name for each in tags], bool)
        self._least = np.where(is_dropped, np.inf, least)
        self._is_logits = False
        self._probe(len(tags))

    def _probe(self, count: int) -> None:
        """Tag an empty picture, so that a wrong output is found at once, and whether it is probabilities or logits."""
        import numpy as np
        from PIL import Image

        found = self._session.run(np.stack([self.prepare(Image.new("RGB", (8, 8), (255, 255, 255)))]))
        if found.shape != (1, count):
            what = f"gives numbers of shape {found.shape}, and {TAGS} has {count} tags."
            raise InputError(what, where=str(self._file), cure="They are of different taggers, or it is no tagger.")
        self._is_logits = bool((found < 0).any() or (found > 1.001).any())

    def prepare(self, picture: Image) -> NDArray[Any]:
        """Return (H, W, 3) or (3, H, W), 0 … 255, in the model's order of channels and type of numbers."""
        import numpy as np

        pixels = np.asarray(squared(picture, self._side), np.float16 if self._session.half else np.float32)
        pixels = pixels[:, :, ::-1] if self._reversed else pixels
        return np.ascontiguousarray(pixels.transpose(2, 0, 1) if self._planes else pixels)

    def tag(self, prepared: Sequence[Any]) -> list[Tagging]:
        import numpy as np

        found = self._session.run(np.stack(prepared)).astype(np.float32)
        if not np.isfinite(found).all():
            raise InputError("gives numbers that are not finite.", where=str(self._file), cure="It is damaged.")
        likely = 1 / (1 + np.exp(-found)) if self._is_logits else found
        return [self._tagging(row) for row in likely]

    def _tagging(self, likely: NDArray[Any]) -> Tagging:
        """Return the tags that pass: characters first, then the surest first."""
        import numpy as np

        [passed] = np.nonzero(likely >= self._least)
        order = sorted(passed.tolist(), key=lambda place: (not self._characters[place], -likely[place], place))
        return Tagging(
            joined(self._names[place] for place in order),
            {self._names[place]: round(float(likely[place]), 4) for place in order},
        )


def squared(picture: Image, side: int) -> Image:
    """Return the picture scaled to fit a white square of this side, in its middle, as WD14's taggers were trained."""
    import PIL.Image

    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    if (width, height) != picture.size:
        smaller = width < picture.width
        picture = picture.resize(
            (width, height), PIL.Image.Resampling.HAMMING if smaller else PIL.Image.Resampling.BICUBIC
        )
    square = PIL.Image.new("RGB", (side, side), (255, 255, 255))
    square.paste(picture, ((side - width) // 2, (side - height) // 2))
    return square


def _layout(session: OnnxSession, file: Path) -> tuple[int, bool]:
    """Return the side of the input, and whether its channels come first. `InputError` for another shape."""
    shape = session.shape
    if len(shape) != 4 or 3 not in (shape[1], shape[3]):
        shown = " x ".join("?" if axis is None else str(axis) for axis in shape)
        raise InputError(f"takes an input of shape {shown}.", where=str(file), cure=NO_TAGGER)
    planes = shape[3] != 3
    height, width = shape[2:] if planes else shape[1:3]
    if height != width:
        raise InputError(f"takes pictures of {width} x {height} pixels.", where=str(file), cure=NO_TAGGER)
    return height or USUAL_SIDE, planes
