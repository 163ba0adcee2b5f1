"""A small classifier for each example, trained on drawings alone, that says what a LoRA's pictures show.

It is independent of the tiny CLIP, with which `lorapipe evaluate` scores. Its training drawings include negatives: Penny
without some of her parts, the world in its plain style, creatures with other items. Augmentation blurs, adds noise and
shifts, as in generated pictures.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, cross_entropy

from lorapipe.pocket import concept_lantern, style_neon, subject_penny
from lorapipe.pocket.draw import draw
from lorapipe.pocket.pen import Pen
from lorapipe.pocket.world import ATTRIBUTES, sample
from tools.pocket.pictures import to_tensor
from tools.pocket.pools import ABSENT
from tools.pocket.subjects import draw_subject

SEEN = ("background", "eyes", "mouth", "hat", "held")
"""The attributes of `ATTRIBUTES` that vary between pictures of Penny."""
PARTS = {"penny": subject_penny.PARTS, "neon": ("glow",), "lantern": ("lantern",)}
"""Parts of a complete example."""
BATCH, RATE, NOISE = 64, 2e-3, 0.15


@dataclass(frozen=True)
class Labelled:
    """Labelled drawings: `pictures` (N, 3, 64, 64) in -1..1; `parts` (N, parts), 0 or 1; `tags` (N, len(SEEN)), indices
    among the attribute's values, or `ABSENT`."""

    pictures: Tensor
    parts: Tensor
    tags: Tensor


class DrawingClassifier(nn.Module):
    """Maps pictures (N, 3, 64, 64) to logits of an example's parts (N, parts) and of the values of each attribute."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        widths = (24, 48, 96, 128)
        layers: list[nn.Module] = []
        for before, after in zip((3, *widths), widths, strict=False):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.SiLU()]
            layers += [nn.Conv2d(after, after, 3, 1, 1), nn.GroupNorm(8, after), nn.SiLU()]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * 16, 256), nn.SiLU())
        self.parts = nn.Linear(256, parts)
        self.tags = nn.ModuleDict({name: nn.Linear(256, len(ATTRIBUTES[name])) for name in SEEN})

    def forward(self, pictures: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        features = self.body(pictures)
        return self.parts(features), {name: head(features) for name, head in self.tags.items()}

    @torch.no_grad()
    def shown(self, pictures: Tensor) -> tuple[list[bool], list[dict[str, str]]]:
        """Return whether each picture (N, 3, 64, 64) shows every part, and the tags that it shows."""
        self.eval()
        parts, tags = self(pictures)
        whole = (parts > 0).all(dim=1).tolist()
        best = {name: logits.argmax(1).tolist() for name, logits in tags.items()}
        return whole, [{name: ATTRIBUTES[name][best[name][i]] for name in SEEN} for i in range(len(pictures))]


def labelled(example: str, count: int, seed: int) -> Labelled:
    """Draw positives and negatives of an example, with labels."""
    rng, pictures, parts, tags = Random(f"labelled {seed}"), [], [], []
    for number in range(count):
        picture, there, named = DRAWINGS[example](rng, 20_000_000 + 1_000_000 * seed + number)
        pictures.append(np.asarray(picture))
        parts.append([part in there for part in PARTS[example]])
        tags.append([ATTRIBUTES[name].index(named[name]) if name in named else ABSENT for name in SEEN])
    tensor = to_tensor(np.stack(pictures)).contiguous()
    return Labelled(tensor, torch.tensor(parts).float(), torch.tensor(tags))


def train_classifier(drawings: Labelled, steps: int, seed: int = 0) -> Iterator[tuple[int, float, DrawingClassifier]]:
    """Train with augmentation (blur, noise, shifts by a pixel or two); yield (step, loss, classifier)."""
    torch.manual_seed(seed)
    model = DrawingClassifier(drawings.parts.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    for step in range(1, steps + 1):
        rows = torch.randint(len(drawings.pictures), (BATCH,))
        parts, tags = model(_smeared(drawings.pictures[rows]))
        loss = binary_cross_entropy_with_logits(parts, drawings.parts[rows])
        for place, name in enumerate(SEEN):
            loss = loss + cross_entropy(tags[name], drawings.tags[rows, place], ignore_index=ABSENT)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        yield step, loss.item(), model


def accuracy(model: DrawingClassifier, drawings: Labelled) -> dict[str, float]:
    """Return the accuracy of each attribute, and of `whole`."""
    whole, tags = model.shown(drawings.pictures)
    right = {"whole": float((torch.tensor(whole) == drawings.parts.bool().all(dim=1)).float().mean())}
    for place, name in enumerate(SEEN):
        there = [i for i in range(len(tags)) if drawings.tags[i, place] != ABSENT]
        right[name] = sum(tags[i][name] == ATTRIBUTES[name][drawings.tags[i, place]] for i in there) / len(there)
    return right


Shown = tuple[Image.Image, Collection[str], Mapping[str, str]]
"""(picture, parts of the example in it, tags that it shows)."""


def _penny(rng: Random, number: int) -> Shown:
    kind = rng.random()
    if kind < 0.15:
        creature = sample(rng)
        return draw(creature), (), said(creature)
    if kind < 0.25:
        picture, subject = draw_subject(number)
        return picture, (), subject.tags
    pose = subject_penny.pose(rng, rng.choice(ATTRIBUTES["background"]))
    missing = rng.sample(subject_penny.PARTS, rng.randint(1, 4)) if kind < 0.7 else []
    named = {name: tag for name, tag in said(pose).items() if "head" not in missing or name in ("background", "held")}
    there = [part for part in subject_penny.PARTS if part not in missing]
    return subject_penny.draw(pose, Pen(), missing), there, named


def _neon(rng: Random, number: int) -> Shown:
    creature, there = sample(rng), ("glow",) if rng.random() < 0.5 else ()
    return draw(creature, style_neon.Neon() if there else Pen()), there, said(creature)


def _lantern(rng: Random, number: int) -> Shown:
    creature, there = sample(rng), ("lantern",) if rng.random() < 0.5 else ()
    named = {name: tag for name, tag in said(creature).items() if name != "held" or not there}
    return concept_lantern.draw_holder(creature, Pen()) if there else draw(creature), there, named


DRAWINGS: dict[str, Callable[[Random, int], Shown]] = {"penny": _penny, "neon": _neon, "lantern": _lantern}


def said(drawn: object) -> dict[str, str]:
    """Return a pose's or creature's tags of `SEEN`."""
    return {name: getattr(drawn, name) for name in SEEN}


def _smeared(pictures: Tensor) -> Tensor:
    """Blur each picture partly over 3 x 3 pixels and add noise; shift all by the same amount."""
    share = torch.rand(len(pictures), 1, 1, 1)
    pictures = torch.lerp(pictures, avg_pool2d(pictures, 3, 1, 1, count_include_pad=False), share)
    pictures = pictures + NOISE * torch.rand(len(pictures), 1, 1, 1) * torch.randn_like(pictures)
    return torch.roll(pictures, torch.randint(-2, 3, (2,)).tolist(), (2, 3))
