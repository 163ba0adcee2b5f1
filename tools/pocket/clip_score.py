"""How often samples show what their caption asks for, by the tiny CLIP, compared with drawings."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from lorapipe.pocket.examples import EXAMPLES
from lorapipe.pocket.world import ATTRIBUTES, tags
from tools.pocket.clip import Contrast, attribute_accuracy, attribute_logits, unseen
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


@torch.no_grad()
def said_tags(clip: Path, example: str, count: int = 900) -> dict[str, float]:
    """Return how often (0..1) the tag that the caption of an example's drawing says is the most similar of its attribute."""
    judge, rng, scenes = load_clip(clip), Random(f"clip {example}"), ATTRIBUTES["background"]
    drawn = [EXAMPLES[example](rng, scenes[number % len(scenes)], (64, 64)) for number in range(count)]
    said = [caption.split(", ") for _, caption in drawn]
    seen = torch.cat(
        [judge.see(part) for part in to_tensor(np.stack([np.asarray(each) for each, _ in drawn])).split(100)]
    )
    shares = {}
    for (name, values), likely in zip(
        ATTRIBUTES.items(), attribute_logits(seen @ judge.read(judge.tags).T), strict=True
    ):
        best = [values[place] for place in likely.argmax(1).tolist()]
        right = [tag in tags for tag, tags in zip(best, said, strict=True) if not set(values).isdisjoint(tags)]
        if right:
            shares[name] = sum(right) / len(right)
    return shares


def score(base: Path, clip: Path, count: int) -> Iterator[tuple[str, float, float]]:
    """Yield (attribute, accuracy on drawings, accuracy on samples) over `count` unseen creatures; then the mean."""
    judge, (population, drawn) = load_clip(clip), unseen(count)
    sampled = pictures(load_base(base), [", ".join(tags(creature)) for creature in population])
    real, made = attribute_accuracy(judge, drawn, population), attribute_accuracy(judge, sampled, population)
    yield from ((name, real[name], made[name]) for name in real)
    yield "mean", sum(real.values()) / len(real), sum(made.values()) / len(made)
