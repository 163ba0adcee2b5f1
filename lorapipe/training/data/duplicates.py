"""Pictures that are the same picture: the same bytes, or the same scene saved twice (another size, quality, format).

A picture twice in a set counts twice in training without anybody having said so, and when one copy is held out, the
other gives it away.

Here a picture is remembered as 16×16 cells of average colour, and two may be the same when no single cell differs by more
than a tolerance (levels of 255). Photographs saved anew (half the size, JPEG quality 40, WebP) stay within 8, at a
quarter of the size within 14. The usual 64-bit difference hash at a distance of 4 takes 99 % of drawings that differ in the
eyes or the mouth alone for the same: most of both is flat background.

Such drawings are told apart by a closer look at the few pairs that are left. What saving anew does to a picture is spread
over all of it, in proportion to what there is to see; another face is in one place, and as strong there as what it replaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

CELLS = 16
GLANCE = 128
"""Decoded with sides of at least this many pixels, a picture has the same signature as in full, to 6 levels."""


DETAIL = 1
"""Raised when `detail` comes to be something else."""
SIDE = 128
"""Pixels of the shorter side that a closer look has."""
GRAIN = 300.0
UNLIKE = 0.16
"""Of generated copies of photographs and drawings (JPEG, WebP and AVIF from quality 35 on, GIF, down to 0.3 of the size)
none of 138 is above it. Of pairs with another face, or another spot of 4 % of the shorter side and more, 4 of 79 are below:
spots that were only turned over. These are figures of one half of the cases; it was set by the other."""


def signature(picture: Image) -> bytes:
    """The colours of 16×16 cells that cover the picture: 768 bytes."""
    from PIL.Image import Resampling

    return bytes(picture.convert("RGB").resize((CELLS, CELLS), Resampling.BOX).tobytes())


def near_duplicates(
    signatures: Sequence[bytes],
    sizes: Sequence[tuple[int, int]],
    tolerance: int,
    differ: Callable[[int, int], bool] = lambda first, second: False,
) -> dict[int, int]:
    """index of a picture → index of the earlier one that it repeats.

    Pictures are the same when no channel of any cell differs by more than `tolerance` (levels of 255), their aspect ratios
    agree to 2 %, and `differ`, which is only asked then, does not say otherwise. The best picture of a group should come
    first, as the first is kept.
    """
    if len(signatures) < 2 or tolerance <= 0:
        return {}
    repeated: dict[int, int] = {}
    for first, second in _close_pairs(_as_array(signatures), tolerance):
        if first in repeated or second in repeated or not _same_shape(sizes[first], sizes[second]):
            continue
        if not differ(first, second):
            repeated[second] = first
    return repeated


def _as_array(signatures: Sequence[bytes]) -> np.ndarray:
    import numpy as np

    return np.frombuffer(b"".join(signatures), dtype=np.uint8).reshape(len(signatures), -1)


def _close_pairs(cells: np.ndarray, tolerance: int) -> Iterator[tuple[int, int]]:
    """Pairs (i < j) with max |cells[i] − cells[j]| ≤ tolerance, in order of i, then j.

    Where no cell differs by more than the tolerance, neither does the mean of all cells; so only pictures of about the
    same mean are compared cell by cell.
    """
    import numpy as np

    means = cells.mean(axis=1)
    for i in range(len(cells) - 1):
        candidates = i + 1 + np.flatnonzero(np.abs(means[i + 1 :] - means[i]) <= tolerance)
        apart = np.abs(cells[candidates].astype(np.int16) - cells[i]).max(axis=1, initial=0)
        for j in candidates[apart <= tolerance]:
            yield i, int(j)


def _same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return abs(a[0] * b[1] - b[0] * a[1]) <= 0.02 * a[0] * b[1]


# ------------------------------------------------------------------------------------------------------ a closer look


def detail(picture: Image) -> bytes:
    """The picture with a shorter side of `SIDE` pixels, or its own if that is less: its width and height, then RGB."""
    from PIL.Image import Resampling

    scale = min(1.0, SIDE / min(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    small = picture.convert("RGB").resize(size, Resampling.HAMMING)
    return size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big") + small.tobytes()


def unlike(one: bytes, other: bytes) -> bool:
    """Whether two pictures, by their details, differ in one place more than saving anew does; also where one has none."""
    if not one or not other:
        return True
    return most_unlike(one, other) > UNLIKE


def most_unlike(one: bytes, other: bytes) -> float:
    """How much more two pictures differ in one place than they do all over, as a share of what there is to see.

    Of squares of 8 × 8 pixels: the squared difference, over the variance of the richer of the two and `GRAIN`; the largest,
    less three times what nine of ten stay below.
    """
    import numpy as np

    first, second = _alike_in_size(_opened(one), _opened(other))
    apart = first - second
    apart -= np.median(apart, axis=(0, 1))
    squared = _squares((apart**2).sum(axis=2))
    rich = np.maximum(_variance(first), _variance(second))
    share = squared / (rich + GRAIN)
    return float(share.max() - 3 * np.quantile(share, 0.9))


def _opened(data: bytes) -> Image:
    import PIL.Image

    size = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
    return PIL.Image.frombytes("RGB", size, data[8:])


def _alike_in_size(one: Image, other: Image) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of the size of the smaller one, and of 8 pixels at least."""
    import numpy as np
    from PIL.Image import Resampling

    width, height = min((one.size, other.size), key=min)
    size = max(8, width), max(8, height)
    arrays = (np.asarray(each.resize(size, Resampling.HAMMING), dtype=np.float32) for each in (one, other))
    first, second = arrays
    return first, second


def _squares(values: np.ndarray) -> np.ndarray:
    """Means over squares of 8 × 8, four apart."""
    height, width = (side // 4 for side in values.shape)
    cells = values[: height * 4, : width * 4].reshape(height, 4, width, 4).mean(axis=(1, 3))
    return (cells[:-1, :-1] + cells[1:, :-1] + cells[:-1, 1:] + cells[1:, 1:]) / 4


def _variance(picture: np.ndarray) -> np.ndarray:
    """Over squares of 8 × 8, of all colours together."""
    parts = [_squares(picture[..., channel] ** 2) - _squares(picture[..., channel]) ** 2 for channel in range(3)]
    return parts[0] + parts[1] + parts[2]
