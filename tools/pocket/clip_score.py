"""How often samples show what their caption asks for, by the tiny CLIP, compared with drawings."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from lorapipe.pocket.world import tags
from tools.pocket.clip import Contrast, attribute_accuracy, unseen
from tools.pocket.pictures import to_tensor

STEPS, GUIDANCE, BATCH = 25, 4.0, 20


def load_base(folder: Path) -> StableDiffusionPipeline:
    """Load the published base in fp32, without a progress bar."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_clip(folder: Path) -> Contrast:
    """Load the published tiny CLIP in fp32."""
    model = Contrast(CLIPTokenizer.from_pretrained(folder, local_files_only=True))
    model.clip = CLIPModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval()


def pictures(
    pipeline: StableDiffusionPipeline, prompts: list[str], seed: int = 0, guidance: float = GUIDANCE
) -> Tensor:
    """Sample one picture per prompt, (N, 3, 64, 64) in -1..1; picture i starts from the noise of seed + i."""
    parts = []
    for start in range(0, len(prompts), BATCH):
        part = prompts[start : start + BATCH]
        noise = [torch.Generator().manual_seed(seed + start + i) for i in range(len(part))]
        result = pipeline(
            part, height=64, width=64, num_inference_steps=STEPS, guidance_scale=guidance, generator=noise
        )
        parts.append(np.stack([np.asarray(image) for image in result.images]))
    return to_tensor(np.concatenate(parts))


def score(base: Path, clip: Path, count: int) -> Iterator[tuple[str, float, float]]:
    """Yield (attribute, accuracy on drawings, accuracy on samples) over `count` unseen creatures; then the mean."""
    judge, (population, drawn) = load_clip(clip), unseen(count)
    sampled = pictures(load_base(base), [", ".join(tags(creature)) for creature in population])
    real, made = attribute_accuracy(judge, drawn, population), attribute_accuracy(judge, sampled, population)
    yield from ((name, real[name], made[name]) for name in real)
    yield "mean", sum(real.values()) / len(real), sum(made.values()) / len(made)
