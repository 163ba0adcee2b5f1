"""The tiny CLIP, which scores pictures of the world and the likeness of other subjects.

It has three contrastive losses: pictures against captions (Radford et al. 2021), pictures against the tags of one attribute
at a time, as in scoring, and two views of one subject against all others (SimCLR, Chen et al. 2020), so that similarity is
meaningful for subjects without tags.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from lorapipe.pocket.world import ATTRIBUTES, Creature
from tools.pocket.pictures import HELD_OUT, creatures, render, to_float, to_tensor
from tools.pocket.pools import ABSENT, CAPTIONS, COUNTS, picked, pool, random_places, tag_tokens
from tools.pocket.tokenizer import LENGTH
from tools.pocket.train import TrainingRun, average_in

SHIFT = 3
"""Largest random shift of a picture, in pixels (augmentation)."""
EMBEDDING = 96


@dataclass(frozen=True)
class Course:
    """How one training goes: `batch` pictures with captions a step and a quarter as many pairs, at rates up to `peak`.

    `first` is the share of a batch that comes from the first of the pools, whose sizes `counts` gives; the last of them is
    `pairs`. `checkpoint` is the file's name in the working folder.
    """

    cycles: tuple[int, ...] = (5_132,)
    batch: int = 256
    peak: float = 1e-3
    first: float = 0.4
    counts: Mapping[str, int] = field(default_factory=lambda: COUNTS)
    checkpoint: str = "clip.pt"


FROM_NOTHING = Course()
IN_THE_DARK = Course(
    cycles=(700,),
    batch=96,
    peak=3e-4,
    counts={"dim": 40_000, "world": 24_000, "subjects": 30_000, "pairs": 8_000},
    checkpoint="clip-in-the-dark.pt",
)
"""Two fifths of it are pictures in which little is lit; without them a CLIP finds tags by their usual colours."""
OF_SUBJECTS = Course(
    cycles=(300,),
    batch=96,
    peak=1.5e-4,
    first=0.5,
    counts={"subjects": 30_000, "dim": 40_000, "world": 24_000, "pairs": 8_000},
    checkpoint="clip-of-subjects.pt",
)
"""Half of it are subjects, of whose faces the dark has taken some."""
FURTHER = (IN_THE_DARK, OF_SUBJECTS)
"""What a CLIP that was trained from nothing goes through next, each course from where the one before ended. An hour."""


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Return an untrained CLIP of the shipped architecture."""
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
        image_size=64, patch_size=4, hidden_size=128, intermediate_size=256, num_hidden_layers=5, num_attention_heads=4
    )
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=EMBEDDING)
    return CLIPModel(config)


def new_image_processor() -> CLIPImageProcessor:
    """Return a processor: shorter side to 64, centre crop, -1..1."""
    half = [0.5, 0.5, 0.5]
    return CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=64, image_mean=half, image_std=half)


class Contrast(nn.Module):
    """CLIP with its three contrastive losses."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.clip = new_clip(tokenizer)
        self.register_buffer("tags", tag_tokens(), persistent=False)

    def see(self, pictures: Tensor) -> Tensor:
        """Return unit embeddings of pictures (B, 3, 64, 64) in -1..1."""
        seen = self.clip.visual_projection(self.clip.vision_model(pictures).pooler_output)
        return functional.normalize(seen.float(), dim=-1)

    def read(self, tokens: Tensor) -> Tensor:
        """Return unit embeddings of tokenized texts (B, 77)."""
        read = self.clip.text_projection(self.clip.text_model(tokens).pooler_output)
        return functional.normalize(read.float(), dim=-1)

    def loss(self, pictures: Tensor, captions: Tensor, answers: Tensor, pairs: Tensor) -> Tensor:
        """Return the sum of the losses. `captions` are tokens (B, 77); `answers` (B, attributes) the indices of each
        picture's tags, or `ABSENT`; `pairs` (2 P, 3, 64, 64) two views of each of P subjects, one after the other."""
        half, count = len(pairs) // 2, len(pictures)
        known, first, second = self.see(torch.cat([pictures, pairs])).split([count, half, half])
        texts, scale = self.read(torch.cat([captions, self.tags])), self.clip.logit_scale.exp().clamp(max=50)
        match = scale * known @ texts[:count].T
        same = torch.arange(count, device=match.device)
        contrast = functional.cross_entropy(match, same) + functional.cross_entropy(match.T, same)
        tagged = attribute_logits(scale * known @ texts[count:].T)
        attributes = sum(_answered(part, answers[:, i]) for i, part in enumerate(tagged))
        likeness = 10 * first @ torch.cat([second, known]).T
        return 0.15 * contrast + attributes / len(ATTRIBUTES) + 0.2 * functional.cross_entropy(likeness, same[:half])


def _answered(logits: Tensor, answers: Tensor) -> Tensor:
    """Return the mean cross-entropy over entries that have an answer."""
    total = functional.cross_entropy(logits, answers, ignore_index=ABSENT, reduction="sum")
    return total / (answers != ABSENT).sum().clamp(min=1)


def attribute_logits(similarities: Tensor) -> tuple[Tensor, ...]:
    """Split similarities to all `TAGS` (B, tags) into one block for each attribute."""
    return similarities.split([len(values) for values in ATTRIBUTES.values()], dim=1)


def places(population: list[Creature]) -> Tensor:
    """Return the indices of each creature's tags among the values of their attributes: (N, attributes)."""
    return torch.tensor([[v.index(getattr(c, name)) for name, v in ATTRIBUTES.items()] for c in population])


def disturb(pictures: Tensor) -> Tensor:
    """Augment each picture with slight noise, contrast, colour cast, shift and blur, as generated pictures have."""
    count, device = len(pictures), pictures.device

    def chance(*shape: int) -> Tensor:
        return torch.randn((count, *shape, 1, 1), device=device)

    places = torch.arange(pictures.shape[-1], device=device)
    by = (torch.rand(2, count, 1, device=device) * (2 * SHIFT + 1)).long() - SHIFT
    rows, columns = (places + by).clamp(0, pictures.shape[-1] - 1)
    moved = pictures.gather(2, rows[:, None, :, None].expand_as(pictures))
    moved = moved.gather(3, columns[:, None, None, :].expand_as(pictures))
    blurred = functional.avg_pool2d(functional.pad(moved, (1, 1, 1, 1), mode="replicate"), 3, 1)
    blended = torch.lerp(moved, blurred, 0.6 * torch.rand((count, 1, 1, 1), device=device))
    return blended * (1 + 0.1 * chance(1)) + 0.04 * chance(3) + 0.05 * torch.randn_like(blended)


def train_clip(
    work: Path,
    tokenizer: CLIPTokenizer,
    seed: int = 0,
    device: str = "cpu",
    course: Course = FROM_NOTHING,
    start: CLIPModel | None = None,
) -> Iterator[tuple[int, float, TrainingRun]]:
    """Train or resume in `work`; yield (step, loss, the run, whose `average` is the model so far).

    `start` is a finished model to go on from, else it begins with random weights.
    """
    pools = [pool(work, kind, count, seed) for kind, count in course.counts.items()]
    first, pairs, batch = len(pools[0]), len(pools[-1]) // 2, course.batch
    pictures, answers, tokens = (
        torch.cat([getattr(each, name) for each in pools]).to(device) for name in ("pictures", "answers", "tokens")
    )
    torch.manual_seed(seed)
    model = Contrast(tokenizer)
    model.clip = model.clip if start is None else start
    run = TrainingRun(
        model.to(device).requires_grad_(), course.cycles, course.peak, work / course.checkpoint, decay=0.998, seed=seed
    )
    of_first = torch.arange(batch, device=device) < int(batch * course.first)

    def loss() -> Tensor:
        places, caption = picked(of_first, first, len(pictures)), random_places(batch, CAPTIONS, device)
        views = len(pictures) - 2 * pairs + 2 * random_places(batch // 4, pairs, device)
        seen = disturb(to_float(pictures[torch.cat([places, views, views + 1])]))
        return model.loss(seen[:batch], tokens[places, caption].long(), answers[places].long(), seen[batch:])

    for step, value in run.run(loss):
        yield step, value, run


def finished_clip(work: Path, tokenizer: CLIPTokenizer, course: Course) -> Contrast:
    """Return the EMA of a course that was trained in `work`."""
    model = Contrast(tokenizer)
    model.load_state_dict(average_in(work / course.checkpoint, "clip"))
    return model


@torch.no_grad()
def attribute_accuracy(model: Contrast, pictures: Tensor, population: list[Creature]) -> dict[str, float]:
    """Return zero-shot accuracy by attribute (0..1): how often the right tag is the most similar of its attribute's."""
    texts = model.read(model.tags)
    seen = torch.cat([model.see(part.to(texts.device)) for part in pictures.split(100)])
    nearest = [part.argmax(1).cpu() for part in attribute_logits(seen @ texts.T)]
    right = places(population) == torch.stack(nearest, dim=1)
    return dict(zip(ATTRIBUTES, right.float().mean(0).tolist(), strict=True))


def mean_accuracy(model: Contrast, population: list[Creature], pictures: Tensor) -> float:
    """Return the mean of `attribute_accuracy` over the attributes."""
    accuracy = attribute_accuracy(model, pictures, population)
    return sum(accuracy.values()) / len(accuracy)


def unseen(count: int) -> tuple[list[Creature], Tensor]:
    """Return held-out creatures, and their pictures in -1..1."""
    population = creatures(HELD_OUT, count)
    return population, to_tensor(render(population))
