"""Metrics of pictures by a CLIP model, likeness and prompt-following, and what pictures are like whatever they show.

Embeddings are unit vectors.

Similarity is the cosine (Radford et al. 2021, arXiv:2103.00020). DreamBooth's measures (Ruiz et al. 2023,
arXiv:2208.12242, §5) are the starting point: CLIP-I, the mean similarity of generated to real pictures of the subject,
and CLIP-T, that of pictures to their prompts. As bare cosines they mean little: both depend on the CLIP model, CLIP-I
also on how varied the real pictures are, and CLIP-T falls for any subject that the CLIP model has no word for. So

- *likeness* is CLIP-I on a scale from the base's pictures (0) to the real pictures among themselves (1);
- *following* is not how near a picture is to its prompt but how much nearer than to the *other* prompts, on a scale
  from chance (0) to the base's pictures (1). What moves a picture towards or away from all prompts alike, such as the
  subject itself, cancels out; pictures that no longer differ from prompt to prompt get 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Vectors: TypeAlias = NDArray[np.float32]
"""(N, d), each row of length 1."""

MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
"""Immerkær's: the difference of two Laplacians."""
BLANK = 1e-4
"""Contrast below this is one colour."""
DISCERNIBLE = 2.0
"""A scale must be this many standard errors long to measure with."""


def image_similarity(pictures: Vectors, training: Vectors) -> NDArray[np.float32]:
    """CLIP-I of each picture, (N,): its mean cosine with the training pictures."""
    return (pictures @ training.T).mean(axis=1)


def text_similarity(pictures: Vectors, prompts: Vectors, prompt_of: Sequence[int]) -> NDArray[np.float32]:
    """CLIP-T of each picture, (N,): its cosine with its own prompt; `prompt_of[n]` is the prompt of picture n."""
    return (pictures @ prompts.T)[np.arange(len(pictures)), list(prompt_of)]


def contrast_to_others(pictures: Vectors, prompts: Vectors, prompt_of: Sequence[int]) -> NDArray[np.float32]:
    """How much nearer each picture is to its own prompt than to the others on average, (N,); two prompts at least."""
    own = text_similarity(pictures, prompts, prompt_of)
    others = ((pictures @ prompts.T).sum(axis=1) - own) / (len(prompts) - 1)
    return own - others


def among(vectors: Vectors) -> float:
    """Mean cosine of all pairs: how alike pictures are to one another; NaN for fewer than two."""
    count = len(vectors)
    if count < 2:
        return math.nan
    return float(((vectors @ vectors.T).sum() - count) / (count * (count - 1)))


def likeness_scale(base: Vectors, training: Vectors) -> tuple[float, float] | None:
    """CLIP-I of likeness 0 and of likeness 1; None where the base's pictures cannot be told from the training's."""
    own = image_similarity(base, training)
    low, high = float(own.mean()), among(training)
    error = float(own.std(ddof=1)) / math.sqrt(len(own)) if len(own) > 1 else 0.0
    return (low, high) if high - low > max(DISCERNIBLE * error, 0.01) else None


def following_scale(base: Vectors, prompts: Vectors, prompt_of: Sequence[int]) -> float | None:
    """The contrast to others that is following 1; None where CLIP cannot tell the base's pictures apart by prompt."""
    if len(prompts) < 2:
        return None
    contrast = contrast_to_others(base, prompts, prompt_of)
    error = float(contrast.std(ddof=1)) / math.sqrt(len(contrast)) if len(contrast) > 1 else 0.0
    mean = float(contrast.mean())
    return mean if mean > max(DISCERNIBLE * error, 1e-3) else None


# ------------------------------------------------------------------------------------------- of the pictures themselves


def distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Root-mean-square difference of two latents of one shape."""
    return float(np.square(first - second).mean() ** 0.5)


def chroma(pixels: NDArray[np.floating[Any]]) -> float:
    """Mean difference of the largest and the smallest channel, 0 (grey) … 1, of pixels (H, W, 3) in 0 … 1."""
    return float((pixels.max(axis=2) - pixels.min(axis=2)).mean())


def looks(picture: Image) -> NDArray[np.float32]:
    """Noise, saturation and contrast of a picture, each 0 … 1, (3,).

    Noise is estimated by a difference of Laplacians, which cancels edges (Immerkær 1996, CVIU 64 (2)); saturation is mean
    chroma, contrast the standard deviation of luma (Peli 1990).
    """
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32) / 255
    luma = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    high, wide = luma.shape
    response = sum(
        MASK[row, column] * luma[row : high - 2 + row, column : wide - 2 + column]
        for row in range(3)
        for column in range(3)
    )
    noise = np.sqrt(np.pi / 2) / 6 * np.median(np.abs(response)) / 0.6745 * np.sqrt(2 / np.pi)
    return np.array([noise, chroma(pixels), luma.std()], dtype=np.float32)


def blank(looks: NDArray[np.float32]) -> bool:
    """Whether a picture of such looks is of one colour, as samplers paint NaN."""
    return bool(looks[2] < BLANK)
