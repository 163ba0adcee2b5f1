"""Duplicate detection: the same bytes, or the same image saved again at another size, quality or format.

A duplicate gives its image twice the weight in training, and a held-out picture with a duplicate in the training set is no
longer held out.

First step: a picture's signature is 16×16 cells of average colour. Two pictures are candidates if no cell differs by more
than a tolerance (levels of 255). Re-encoded photographs (half the size, JPEG quality 40, WebP) differ by at most 8, at a
quarter of the size by 14. The usual 64-bit difference hash with a distance of 4 takes 99 % of drawings that differ only
in eyes or mouth for duplicates, since most of such a drawing is flat background.

Second step: the candidates are compared in detail (`local_difference`). Re-encoding changes a picture everywhere, in
proportion to its local contrast; another face is a strong difference in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

CELLS = 16
GLANCE = 128
"""Least sides in pixels of the decoded picture: its signature then agrees with that of the full size to 6 levels."""


DETAIL = 1
"""Version of `detail`, part of its cache key: bump when it changes."""
SIDE = 128
"""Shorter side in pixels of the pictures that are compared in detail."""
GRAIN = 300.0
"""Added to the local variance: noise in flat areas is no difference."""
UNLIKE = 0.16
"""The `local_difference` above which two pictures are not duplicates. Chosen on one half of the test cases; on the other,
none of 138 re-encoded copies (JPEG, WebP and AVIF from quality 35, GIF, down to 0.3 of the size) is above it, and 4 of 79
pairs with another face or spot (4 % of the shorter side or more) are below it: spots that were only mirrored."""


def signature(picture: Image) -> bytes:
    """Return the average colours of the 16×16 cells of a picture: 768 bytes."""
    from PIL.Image import Resampling

    return bytes(picture.convert("RGB").resize((CELLS, CELLS), Resampling.BOX).tobytes())


def near_duplicates(
    signatures: Sequence[bytes],
    sizes: Sequence[tuple[int, int]],
    tolerance: int,
    differ: Callable[[int, int], bool] = lambda first, second: False,
) -> dict[int, int]:
    """Return a mapping from each duplicate's index to the index of the earlier picture that it repeats.

    Two pictures are duplicates if no channel of any cell differs by more than `tolerance` (levels of 255), their aspect
    ratios agree to 2 %, and `differ(first, second)`, which is called only then, is false. The first of a group is kept, so
    sort the best first.
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
    """Yield the pairs (i < j) with max |cells[i] − cells[j]| ≤ tolerance, in order of i, then j.

    If no cell differs by more than the tolerance, neither does the mean over all cells, so only pictures of similar means
    are compared cell by cell.
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


# ------------------------------------------------------------------------------------------------ comparison in detail


def detail(picture: Image) -> bytes:
    """Return the picture scaled down to a shorter side of `SIDE` pixels: width and height (4 bytes each), then RGB."""
    from PIL.Image import Resampling

    scale = min(1.0, SIDE / min(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    small = picture.convert("RGB").resize(size, Resampling.HAMMING)
    return size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big") + small.tobytes()


def unlike(one: bytes, other: bytes) -> bool:
    """Whether two pictures, given as `detail`, differ locally more than re-encoding explains; true if one is empty."""
    if not one or not other:
        return True
    return local_difference(one, other) > UNLIKE


def local_difference(one: bytes, other: bytes) -> float:
    """Return how much more two pictures differ in one place than overall, relative to the local variance.

    For blocks of 8 × 8 pixels: mean squared difference / (larger variance of the two + `GRAIN`). The result is the
    maximum minus three times the 90th percentile.
    """
    import numpy as np

    first, second = _to_smaller_size(_to_image(one), _to_image(other))
    difference = first - second
    difference -= np.median(difference, axis=(0, 1))
    squared = _block_means((difference**2).sum(axis=2))
    variance = np.maximum(_variance(first), _variance(second))
    share = squared / (variance + GRAIN)
    return float(share.max() - 3 * np.quantile(share, 0.9))


def _to_image(data: bytes) -> Image:
    import PIL.Image

    size = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
    return PIL.Image.frombytes("RGB", size, data[8:])


def _to_smaller_size(one: Image, other: Image) -> tuple[np.ndarray, np.ndarray]:
    """Return both as arrays (H, W, 3) of the smaller picture's size, sides at least 8."""
    import numpy as np
    from PIL.Image import Resampling

    width, height = min((one.size, other.size), key=min)
    size = max(8, width), max(8, height)
    arrays = (np.asarray(each.resize(size, Resampling.HAMMING), dtype=np.float32) for each in (one, other))
    first, second = arrays
    return first, second


def _block_means(values: np.ndarray) -> np.ndarray:
    """Return the means over blocks of 8 × 8 pixels, with stride 4."""
    height, width = (side // 4 for side in values.shape)
    cells = values[: height * 4, : width * 4].reshape(height, 4, width, 4).mean(axis=(1, 3))
    return (cells[:-1, :-1] + cells[1:, :-1] + cells[:-1, 1:] + cells[1:, 1:]) / 4


def _variance(picture: np.ndarray) -> np.ndarray:
    """Return the variance over the same blocks, summed over the channels."""
    bands = [picture[..., channel] for channel in range(3)]
    parts = [_block_means(band**2) - _block_means(band) ** 2 for band in bands]
    return parts[0] + parts[1] + parts[2]
