"""diffusers' own pipelines over a model's parts: the second implementation that sampling is compared with."""

from __future__ import annotations

from typing import Any

from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline

from lorapipe.models import Model


def pipeline_of(model: Model) -> DiffusionPipeline:
    """A text-to-image pipeline over these same modules, without a safety checker and without a progress bar."""
    loaded: Any = model  # of Stable Diffusion: it has tokenizers and a scheduler
    tokenizers = [loaded.tokenizer(text) for text in loaded.texts]
    parts = {"vae": model.part("vae"), "unet": model.part("unet"), "scheduler": loaded.scheduler()}
    if len(tokenizers) == 2:
        pipeline = StableDiffusionXLPipeline(
            **parts,
            text_encoder=model.part("text_encoder"),
            text_encoder_2=model.part("text_encoder_2"),
            tokenizer=tokenizers[0],
            tokenizer_2=tokenizers[1],
            add_watermarker=False,
        )
    else:
        pipeline = StableDiffusionPipeline(
            **parts,
            text_encoder=model.part("text_encoder"),
            tokenizer=tokenizers[0],
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
