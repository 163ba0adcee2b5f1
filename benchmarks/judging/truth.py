"""The truth about pictures: a small network that was trained on drawings whose parts and tags are known.

It sees drawings alone: of any subject with any parts missing, of the world's creatures, with and without the concept, in
every style, blurred and noisy or as the base's own autoencoder leaves them, and things that are no drawing any more. What
it says of a painted picture is how sure it is of each part and tag that should be there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor, nn

from benchmarks.judging import subjects
from benchmarks.judging.trainings import Neon
from lorapipe.pocket.concept_lantern import draw_holder
from lorapipe.pocket.draw import draw as draw_creature
from lorapipe.pocket.pen import Pen
from lorapipe.pocket.world import sample
from tools.pocket.sepia import Sepia

NONE = "none"
HEADS: dict[str, tuple[str, ...]] = {
    **{name: (*values, NONE) for name, values in subjects.PARTS.items()},
    **{name: (*values, NONE) for name, values in subjects.TAGS.items()},
    "style": ("plain", "neon", "sepia", NONE),
    "concept": ("lantern", NONE),
}
EPOCHS, BATCH, DECODED = 12, 64, 0.4
"""`DECODED` is the share of drawings that go through the autoencoder, where there is a GPU for it."""
Said: TypeAlias = Mapping[str, NDArray[np.float32]]


def truths(network: nn.Module, pictures: Sequence[Image.Image]) -> NDArray[np.float16]:
    """What the network says of pictures, (N, values of all heads)."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        out = network(torch.stack([_tensor(each) for each in pictures]).to(device))
        return torch.cat([part.softmax(1) for part in out], dim=1).cpu().numpy().astype(np.float16)


def by_head(said: NDArray[np.float16]) -> Said:
    """The same by head, (N, values)."""
    ends = np.cumsum([len(values) for values in HEADS.values()])
    return dict(zip(HEADS, np.split(said.astype(np.float32), ends[:-1], axis=1), strict=True))


def identity(said: Said, parts: Mapping[str, str]) -> NDArray[np.float32]:
    """How much of a subject each picture shows, (N,), 0 … 1: the share of its parts; none where the body is another's."""
    each = [_sure(said, name, value) for name, value in parts.items()]
    return np.mean(each, axis=0) * _sure(said, "kind", parts["kind"])


def style(said: Said, name: str) -> NDArray[np.float32]:
    """How much each picture is of a style, (N,)."""
    return _sure(said, "style", name)


def concept(said: Said) -> NDArray[np.float32]:
    """How surely each picture has the concept in it, (N,)."""
    return _sure(said, "concept", "lantern")


def following(said: Said, asked: Sequence[Mapping[str, str]]) -> NDArray[np.float32]:
    """How much of what was asked for each picture shows, (N,); NaN where nothing was."""
    return np.array([
        np.mean([said[name][place][HEADS[name].index(tag)] for name, tag in tags.items() if tag in HEADS[name]] or [np.nan])
        for place, tags in enumerate(asked)
    ])  # fmt: skip


def _sure(said: Said, name: str, value: str) -> NDArray[np.float32]:
    return said[name][:, HEADS[name].index(value)]


# ------------------------------------------------------------------------------------------------------ the network


def classifier(work: Path, device: str) -> nn.Module:
    """The network that `prepared` has trained."""
    network = _Network()
    network.load_state_dict(torch.load(work / "truth.pt", weights_only=True))
    return network.eval().to(device)


def prepared(work: Path, device: str, examples: int) -> None:
    """Train the network on so many drawings, once, and write how often it is right on new ones."""
    if (work / "truth.pt").exists():
        return
    network = _Network().to(device)
    decode = _decoder(device) if device != "cpu" else None
    _train(network, *_drawn(range(examples), decode), device)
    pixels, labels = _drawn(range(-1 - examples // 12, -1), decode)
    with torch.inference_mode():
        out = network.eval()(pixels.to(device))
    right = {name: float((part.argmax(1).cpu() == labels[:, place]).float().mean())
             for place, (name, part) in enumerate(zip(HEADS, out, strict=True))}  # fmt: skip
    (work / "truth.json").write_text(json.dumps({"examples": examples, "right": right}), encoding="utf-8")
    torch.save({name: each.cpu() for name, each in network.state_dict().items()}, work / "truth.pt")
    print("truth right:", {name: round(value, 3) for name, value in right.items()}, flush=True)


def _drawn(numbers: range, decode: Callable[[Tensor], Tensor] | None) -> tuple[Tensor, Tensor]:
    """Drawings (N, 3, 64, 64) and their labels (N, heads); some of them as the autoencoder leaves them."""
    found, labels = zip(*(_example(number) for number in numbers), strict=True)
    pixels = torch.stack(found)
    if decode is not None:
        count = int(DECODED * len(pixels))
        pixels[:count] = torch.cat([decode(pixels[start : start + BATCH]) for start in range(0, count, BATCH)])[:count]
    return pixels, torch.tensor(labels)


def _decoder(device: str) -> Callable[[Tensor], Tensor]:
    from benchmarks.judging.grids import base

    model = base().load(device, "fp32")

    def decode(pixels: Tensor) -> Tensor:
        with torch.inference_mode():
            return model.decode(model.encode_images(pixels.to(device))).clamp(-1, 1).cpu()

    return decode


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths, layers = (3, 32, 64, 96, 128), list[nn.Module]()
        for inner, outer in pairwise(widths):
            layers += [nn.Conv2d(inner, outer, 3, 2, 1), nn.BatchNorm2d(outer), nn.ReLU(),
                       nn.Conv2d(outer, outer, 3, 1, 1), nn.BatchNorm2d(outer), nn.ReLU()]  # fmt: skip
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(widths[-1] * 16, 320), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(320, len(values)) for values in HEADS.values())

    def forward(self, pixels: Tensor) -> list[Tensor]:
        inner = self.body(pixels)
        return [head(inner) for head in self.heads]


def _tensor(picture: Image.Image) -> Tensor:
    levels = np.asarray(picture.convert("RGB").resize((64, 64)), dtype=np.float32) / 127.5 - 1
    return torch.from_numpy(levels).permute(2, 0, 1)


def _train(network: nn.Module, pixels: Tensor, labels: Tensor, device: str) -> None:
    torch.manual_seed(0)
    pixels, labels = pixels.to(device), labels.to(device)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=2e-2)
    steps = max(EPOCHS * len(pixels) // BATCH, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps + 1)
    network.train()
    for _ in range(steps):
        chosen = torch.randint(len(pixels), (BATCH,)).to(device)
        noise = torch.randn(BATCH, 1, 1, 1) * 0.04 + torch.randn(BATCH, 3, 64, 64) * 0.04
        inputs = pixels[chosen] + noise.to(device)
        if torch.rand(()) < 0.5:
            inputs = inputs.roll((int(torch.randint(-3, 4, ())), int(torch.randint(-3, 4, ()))), (2, 3))
        out = network(inputs)
        loss = sum(nn.functional.cross_entropy(head, labels[chosen, place]) for place, head in enumerate(out))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _example(number: int) -> tuple[Tensor, list[int]]:
    rng = Random(f"truth {number}")
    chance = rng.random()
    if chance < 0.55:
        picture, said = _of_a_subject(rng)
    elif chance < 0.88:
        picture, said = _of_the_world(rng)
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


def _of_the_world(rng: Random) -> tuple[Image.Image, dict[str, str]]:
    creature = sample(rng)
    said = {name: getattr(creature, name) for name in subjects.TAGS}
    pen, style = rng.choice(((Pen, "plain"), (Neon, "neon"), (Sepia, "sepia")))
    if rng.random() < 0.35:
        return draw_holder(creature, pen()), said | {"style": style, "concept": "lantern", "held": NONE}
    return draw_creature(creature, pen()), said | {"style": style}


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
