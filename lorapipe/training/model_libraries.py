"""The libraries whose modules bases are made of: diffusers and transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lorapipe.library_imports import hidden, uncollected

if TYPE_CHECKING:
    from lorapipe.pipeline.context import ModelCache

UNUSED = ("bitsandbytes", "peft", "scipy")
"""What both import where it is installed: for quantised weights, PEFT's adapters, and losses of object detection. It takes
longer than the rest of both."""


def import_model_libraries(models: ModelCache) -> None:
    """Import them without what no stage uses of them, if nothing but stages runs in this process.

    After that diffusers takes `UNUSED` for not installed as long as the process lives: it would not load an adapter into a
    pipeline of its own, which no stage asks for. transformers looks again when it is asked to, but for SciPy.
    """
    if models.owns_process:
        with uncollected(), hidden(UNUSED):
            from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel  # noqa: F401
            from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401
