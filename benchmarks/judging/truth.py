"""The truth about pictures: a small network that was trained on drawings whose parts and tags are known.

It sees drawings alone: of any subject with any parts missing, of the world's creatures, in two styles, blurred and noisy
as an autoencoder leaves them, and things that are no drawing any more. What it says of a painted picture is how sure it
is of each part and tag that should be there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor, nn

from benchmarks.judging import subjects
from lorapipe.pocket.draw import draw as draw_creature
from lorapipe.pocket.style_neon import Neon
from lorapipe.pocket.world import sample

NONE = "none"
HEADS: dict[str, tuple[str, ...]] = {
    **{name: (*values, NONE) for name, values in subjects.PARTS.items()},
    **{name: (*values, NONE) for name, values in subjects.TAGS.items()},
    "style": ("plain", "neon", NONE),
}
COUNT, EPOCHS, BATCH = 9_000, 6, 48


def truths(network: nn.Module, pictures: Sequence[Image.Image]) -> dict[str, NDArray[np.float32]]:
    """What the network says of pictures: by head, (N, values)."""
    with torch.inference_mode():
        out = network(torch.stack([_tensor(each) for each in pictures]))
    return {name: part.softmax(1).numpy() for name, part in zip(HEADS, out, strict=True)}


def identity(said: Mapping[str, NDArray[np.float32]], parts: Mapping[str, str]) -> NDArray[np.float32]:
    """How much of a subject each picture shows, (N,), 0 … 1: the share of its parts; none where the body is another's."""
    each = [_sure(said, name, value) for name, value in parts.items()]
    return np.mean(each, axis=0) * _sure(said, "kind", parts["kind"])


def style(said: Mapping[str, NDArray[np.float32]], name: str = "neon") -> NDArray[np.float32]:
    """How much each picture is of the style."""
    return _sure(said, "style", name)


def following(said: Mapping[str, NDArray[np.float32]], asked: Sequence[Mapping[str, str]]) -> NDArray[np.float32]:
    """How much of what was asked for each picture shows, (N,); NaN where nothing was."""
    return np.array([
        np.mean([said[name][place][HEADS[name].index(tag)] for name, tag in tags.items() if tag in HEADS[name]] or [np.nan])
        for place, tags in enumerate(asked)
    ])  # fmt: skip


def _sure(said: Mapping[str, NDArray[np.float32]], name: str, value: str) -> NDArray[np.float32]:
    return said[name][:, HEADS[name].index(value)]


# ------------------------------------------------------------------------------------------------------ the network


def classifier(work: Path) -> nn.Module:
    """The network, trained in some minutes and kept in `work`."""
    file, network = work / "truth.pt", _Network()
    if not file.exists():
        _train(network)
        torch.save(network.state_dict(), file)
    network.load_state_dict(torch.load(file, weights_only=True))
    return network.eval()


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths, layers = (3, 16, 32, 64, 96), list[nn.Module]()
        for inner, outer in pairwise(widths):
            layers += [nn.Conv2d(inner, outer, 3, 2, 1), nn.BatchNorm2d(outer), nn.ReLU(),
                       nn.Conv2d(outer, outer, 3, 1, 1), nn.BatchNorm2d(outer), nn.ReLU()]  # fmt: skip
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(96 * 16, 256), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(256, len(values)) for values in HEADS.values())

    def forward(self, pixels: Tensor) -> list[Tensor]:
        inner = self.body(pixels)
        return [head(inner) for head in self.heads]


def _tensor(picture: Image.Image) -> Tensor:
    levels = np.asarray(picture.convert("RGB").resize((64, 64)), dtype=np.float32) / 127.5 - 1
    return torch.from_numpy(levels).permute(2, 0, 1)


def _train(network: nn.Module) -> None:
    torch.manual_seed(0)
    pixels, labels = zip(*(_example(number) for number in range(COUNT)), strict=True)
    pixels, labels = torch.stack(pixels), torch.tensor(labels)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    steps = EPOCHS * len(pixels) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps + 1)
    network.train()
    for step in range(steps):
        chosen = torch.randint(len(pixels), (BATCH,))
        noise = torch.randn(BATCH, 1, 1, 1) * 0.04 + torch.randn(BATCH, 3, 64, 64) * 0.05
        inputs = pixels[chosen] + noise
        if torch.rand(()) < 0.5:
            inputs = inputs.roll((int(torch.randint(-3, 4, ())), int(torch.randint(-3, 4, ()))), (2, 3))
        out = network(inputs)
        loss = sum(nn.functional.cross_entropy(head, labels[chosen, place]) for place, head in enumerate(out))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            right = [float((head.argmax(1) == labels[chosen, place]).float().mean()) for place, head in enumerate(out)]
            print(f"truth {step}/{steps}: {loss.item():.2f}, {np.mean(right):.3f}", flush=True)


def _example(number: int) -> tuple[Tensor, list[int]]:
    rng = Random(f"truth {number}")
    chance = rng.random()
    if chance < 0.6:
        picture, said = _of_a_subject(rng)
    elif chance < 0.86:
        creature, neon = sample(rng), rng.random() < 0.4
        picture = draw_creature(creature, Neon() if neon else None)
        said = {name: getattr(creature, name) for name in subjects.TAGS} | {"style": "neon" if neon else "plain"}
    else:
        picture, said = _of_nothing(rng), {}
    if rng.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.9)))
    labels = [
        values.index(said[name]) if said.get(name) in values else values.index(NONE) for name, values in HEADS.items()
    ]
    return _tensor(picture), labels


def _of_a_subject(rng: Random) -> tuple[Image.Image, dict[str, str]]:
    parts = {name: rng.choice(values) for name, values in subjects.PARTS.items()}
    parts = {name: value for name, value in parts.items() if name in ("kind", "hide") or rng.random() < 0.75}
    drawing = subjects.picture_of(parts, rng)
    return subjects.draw(drawing), {**parts, **drawing.tags, "style": "plain"}


def _of_nothing(rng: Random) -> Image.Image:
    """Noise, blends, shuffled pieces, washed or burnt colours: what broken models paint."""
    first, _ = _of_a_subject(rng)
    second = draw_creature(sample(rng))
    kind, noise = rng.randrange(4), np.random.default_rng(rng.randrange(1 << 30))
    if kind == 0:
        return Image.fromarray(noise.integers(0, 256, (64, 64, 3), dtype=np.uint8)).filter(
            ImageFilter.GaussianBlur(rng.uniform(0, 4))
        )
    if kind == 1:
        return Image.blend(first, second, rng.uniform(0.35, 0.65)).filter(ImageFilter.GaussianBlur(rng.uniform(0, 3)))
    if kind == 2:
        side = rng.choice((8, 16))
        levels = (
            np.asarray(first).reshape(64 // side, side, 64 // side, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
        )
        levels = noise.permutation(levels).reshape(64 // side, 64 // side, side, side, 3).swapaxes(1, 2)
        return Image.fromarray(levels.reshape(64, 64, 3))
    burnt = (np.asarray(first, dtype=np.float32) - 128) * rng.uniform(2.5, 8) + 128 + noise.normal(0, 60, (64, 64, 3))
    return Image.fromarray(burnt.clip(0, 255).astype(np.uint8))
