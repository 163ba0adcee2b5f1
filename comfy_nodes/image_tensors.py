"""Pictures as ComfyUI's IMAGE and MASK: float32 tensors of (batch, height, width, 3) and (batch, height, width), 0 to 1."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


def image_tensor(picture: Path | Image) -> Tensor:
    """Return a picture, of a file or drawn, as an IMAGE of one."""
    import numpy as np
    import torch
    from PIL import Image as Pillow

    if isinstance(picture, Path):
        with Pillow.open(picture) as opened:
            numbers = np.asarray(opened.convert("RGB"))
    else:
        numbers = np.asarray(picture.convert("RGB"))
    return torch.from_numpy(numbers.astype(np.float32) / 255)[None]


def pictures_of(image: Tensor) -> list[Image]:
    """Return the pictures of an IMAGE, or of a MASK in grey; a fourth channel is left out."""
    from PIL import Image as Pillow

    numbers = (image.detach().float().cpu().clamp(0, 1) * 255).round().byte()
    if numbers.dim() == 2:
        numbers = numbers[None]
    return [Pillow.fromarray(each[..., :3].numpy() if each.dim() == 3 else each.numpy()) for each in numbers]
