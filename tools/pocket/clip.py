"""The tiny CLIP that scores pictures of the world and the likeness of subjects outside it.

Trained with three contrasts at once: pictures against captions (Radford et al. 2021), pictures against the tags of one
attribute at a time, which is how it is used for scoring, and pictures of the same stranger against all others (SimCLR,
Chen et al. 2020), so that likeness means something for subjects that no tag names.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from lorapipe.pocket.world import ATTRIBUTES, TAGS, Creature, caption
from tools.pocket.pictures import HELD_OUT, creatures, render, to_tensor
from tools.pocket.random_subjects import draw_pair
from tools.pocket.tokenizer import LENGTH
from tools.pocket.train import TrainingRun, generator

POOL = 12_000
PAIRS = 4_000
BATCH = 48
CYCLES = (2_500, 5_000)
PEAK = 1e-3
EMBEDDING = 96


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """An untrained CLIP of the shipped shape."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        image_size=64, patch_size=8, hidden_size=128, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4
    )
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=EMBEDDING)
    return CLIPModel(config)


def new_image_processor() -> CLIPImageProcessor:
    """Shorter side to 64, middle square, -1..1."""
    half = [0.5, 0.5, 0.5]
    return CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=64, image_mean=half, image_std=half)


class Contrast(nn.Module):
    """The model with its three losses."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.clip, self.tokenizer = new_clip(tokenizer), tokenizer

    def see(self, pictures: Tensor) -> Tensor:
        """Unit embeddings of pictures (B, 3, 64, 64) in -1..1."""
        seen = self.clip.visual_projection(self.clip.vision_model(pictures).pooler_output)
        return functional.normalize(seen, dim=-1)

    def read(self, texts: list[str]) -> Tensor:
        """Unit embeddings of texts."""
        inputs = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        return functional.normalize(self.clip.text_projection(self.clip.text_model(**inputs).pooler_output), dim=-1)

    def loss(self, pictures: Tensor, captions: list[str], answers: Tensor, pairs: Tensor) -> Tensor:
        """`answers` (B, attributes) are each picture's places in the attributes; `pairs` (2, P, 3, 64, 64)."""
        half = len(pairs[0])
        seen = self.see(torch.cat([pictures, *pairs]))
        known, first, second = seen.split([len(pictures), half, half])
        texts, scale = self.read([*captions, *TAGS]), self.clip.logit_scale.exp().clamp(max=50)
        match = scale * known @ texts[: len(captions)].T
        same = torch.arange(len(known))
        contrast = functional.cross_entropy(match, same) + functional.cross_entropy(match.T, same)
        tagged = attribute_logits(scale * known @ texts[len(captions) :].T)
        attributes = sum(functional.cross_entropy(part, answers[:, i]) for i, part in enumerate(tagged))
        likeness = 10 * first @ torch.cat([second, known]).T
        return 0.25 * contrast + attributes / len(ATTRIBUTES) + 0.2 * functional.cross_entropy(likeness, same[:half])


def attribute_logits(similarities: Tensor) -> tuple[Tensor, ...]:
    """Similarities to all `TAGS` (B, tags) split into one block for each attribute."""
    return similarities.split([len(values) for values in ATTRIBUTES.values()], dim=1)


def places(population: list[Creature]) -> Tensor:
    """Where each creature's tags stand among their attributes' values: (N, attributes)."""
    return torch.tensor([[v.index(getattr(c, name)) for name, v in ATTRIBUTES.items()] for c in population])


def disturb(pictures: Tensor, chance: torch.Generator) -> Tensor:
    """Slight noise, contrast, colour cast, shift and blur, as a generated picture may have."""
    shape = (len(pictures), 3, 1, 1)
    contrast = 1 + 0.1 * torch.randn((len(pictures), 1, 1, 1), generator=chance)
    noise = 0.05 * torch.randn(pictures.shape, generator=chance)
    down, across = torch.randint(-3, 4, (2,), generator=chance).tolist()
    moved = functional.pad(pictures, (3, 3, 3, 3), mode="replicate")
    moved = moved[:, :, 3 + down : 67 + down, 3 + across : 67 + across]
    blurred = functional.avg_pool2d(functional.pad(moved, (1, 1, 1, 1), mode="replicate"), 3, 1)
    blend = 0.6 * torch.rand((len(pictures), 1, 1, 1), generator=chance)
    return torch.lerp(moved, blurred, blend) * contrast + 0.04 * torch.randn(shape, generator=chance) + noise


def train_clip(
    work: Path, tokenizer: CLIPTokenizer, seed: int = 0, cycles: Sequence[int] = CYCLES
) -> Iterator[tuple[int, float, TrainingRun]]:
    """Train or resume in `work`/clip.pt, yielding (step, loss, the run whose `average` is the model so far)."""
    population = creatures(seed + 300, POOL)
    pool, answers = render(population), places(population)
    pairs = np.stack([np.stack([np.asarray(view) for view in draw_pair(seed + i)]) for i in range(PAIRS)], axis=1)
    torch.manual_seed(seed)
    model = Contrast(tokenizer)
    run = TrainingRun(model, cycles, PEAK, work / "clip.pt", decay=0.995)

    def loss_at(step: int) -> Tensor:
        chance, words = generator(seed, step), Random(seed * 1_000_003 + step)
        picked = torch.randint(POOL, (BATCH,), generator=chance)
        subjects = torch.randint(PAIRS, (BATCH // 4,), generator=chance).numpy()
        pictures = disturb(to_tensor(pool[picked.numpy()]), chance)
        views = torch.stack([disturb(to_tensor(view[subjects]), chance) for view in pairs])
        return model.loss(pictures, [caption(population[i], words) for i in picked], answers[picked], views)

    for step, loss in run.run(loss_at):
        yield step, loss, run


@torch.no_grad()
def attribute_accuracy(model: Contrast, pictures: Tensor, population: list[Creature]) -> dict[str, float]:
    """Zero-shot: how often the picture is nearest to the right tag among its attribute's tags (0..1)."""
    texts = model.read(list(TAGS))
    nearest = [part.argmax(1) for part in attribute_logits(model.see(pictures) @ texts.T)]
    right = places(population) == torch.stack(nearest, dim=1)
    return dict(zip(ATTRIBUTES, right.float().mean(0).tolist(), strict=True))


def mean_accuracy(model: Contrast, population: list[Creature], pictures: Tensor) -> float:
    """The mean of `attribute_accuracy` over the attributes."""
    accuracy = attribute_accuracy(model, pictures, population)
    return sum(accuracy.values()) / len(accuracy)


def unseen(count: int) -> tuple[list[Creature], Tensor]:
    """Creatures that no training sees, and their pictures in -1..1."""
    population = creatures(HELD_OUT, count)
    return population, to_tensor(render(population))
