"""The pocket tagger: which tags of the world a picture shows, by a linear probe on the tiny CLIP's image encoder.

It is published in the layout of the WD14 taggers: `model.onnx`, which takes pictures (N, 64, 64, 3) in BGR, 0 … 255, padded
to a square with white, and returns a probability for each line of `selected_tags.csv`. The probe (Alain & Bengio 2016;
Radford et al. 2021, linear probe) learns from the world's creatures and from the subjects of `tools/pocket/subjects`; an
attribute that a picture lacks has an answer of its own, which has no tag. So the tiny CLIP must be trained before.
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPModel

from lorapipe.pocket.draw import draw
from lorapipe.pocket.pen import Pen
from lorapipe.pocket.world import ATTRIBUTES, TAGS, sample
from tools.pocket.clip import disturb
from tools.pocket.clip_onnx import image_encoder
from tools.pocket.onnx_writer import Graph
from tools.pocket.pictures import to_float
from tools.pocket.pools import ABSENT, answers_of, tags_by_name
from tools.pocket.publish import replacing
from tools.pocket.subjects import draw_subject

COUNTS = {"world": 3_000, "subjects": 2_000}
FIRST_SUBJECT = 50_000_000
"""Subjects with lower numbers train the other models."""
STEPS, RATE, DECAY = 1_500, 2e-2, 1e-3
BATCH, SIDE, PART = 100, 64, 250
GROUPS = tuple(len(values) + 1 for values in ATTRIBUTES.values())
"""Answers of each attribute: its tags, and that it is not there."""


@dataclass(frozen=True)
class Drawings:
    """`pictures` (N, 64, 64, 3) bytes, RGB; `answers` (N, attributes), indices of `GROUPS`."""

    pictures: Tensor
    answers: Tensor


def drawings(seed: int = 0) -> Drawings:
    """Draw the training set, on all cores."""
    jobs = [(kind, first, seed) for kind, count in COUNTS.items() for first in range(0, count, PART)]
    with get_context("spawn").Pool(os.cpu_count()) as processes:
        parts = processes.starmap(_drawn, jobs, chunksize=1)
    pictures, answers = (torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*parts, strict=True))
    return Drawings(pictures, answers)


def _drawn(kind: str, first: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw a part of the training set."""
    rng, pictures, answers = Random(f"tagger {kind} {first} {seed}"), [], []
    for number in range(first, first + PART):
        if kind == "world":
            creature = sample(rng)
            picture = draw(creature, Pen(*rng.choices(((64, 64), (80, 64), (64, 80)), (8, 1, 1))[0]))
            named = tags_by_name(creature)
        else:
            picture, subject = draw_subject(FIRST_SUBJECT + 10_000_000 * seed + number)
            named = subject.tags
        pictures.append(np.asarray(squared(picture)))
        answers.append([
            count - 1 if answer == ABSENT else answer for answer, count in zip(answers_of(named), GROUPS, strict=True)
        ])  # fmt: skip
    return np.stack(pictures), np.array(answers, np.int64)


def squared(picture: Image.Image, side: int = SIDE) -> Image.Image:
    """Return the picture scaled to fit a white square of this side, in its middle."""
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    square = Image.new("RGB", (side, side), (255, 255, 255))
    resized = picture.resize((width, height), Image.Resampling.HAMMING) if picture.size != (width, height) else picture
    square.paste(resized, ((side - width) // 2, (side - height) // 2))
    return square


@torch.no_grad()
def features(clip: CLIPModel, pictures: Tensor, seed: int = 0) -> Tensor:
    """Return the image encoder's pooled output (N, d) for pictures (N, 64, 64, 3); every second picture is disturbed."""
    torch.manual_seed(seed)
    found = []
    for part in pictures.split(BATCH):
        seen = to_float(part)
        seen[1::2] = disturb(seen[1::2])
        found.append(clip.vision_model(seen).pooler_output)
    return torch.cat(found)


def train_probe(seen: Tensor, answers: Tensor, seed: int = 0) -> Iterator[tuple[int, float, nn.Linear]]:
    """Fit the probe to features (N, d) with their answers, by all at once; yield (step, loss, the probe)."""
    torch.manual_seed(seed)
    probe = nn.Linear(seen.shape[1], sum(GROUPS))
    optimizer = torch.optim.AdamW(probe.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for step in range(1, STEPS + 1):
        logits = probe(seen).split(GROUPS, dim=1)
        losses = [functional.cross_entropy(each, answers[:, place]) for place, each in enumerate(logits)]
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        yield step, loss.item(), probe


def publish_tagger(folder: Path, clip: CLIPModel, probe: nn.Linear) -> None:
    """Replace `folder` with the tagger in the WD14 layout."""
    with replacing(folder) as fresh:
        (fresh / "model.onnx").write_bytes(onnx_bytes(clip, probe))
        with (fresh / "selected_tags.csv").open("w", encoding="utf-8", newline="\n") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["tag_id", "name", "category", "count"])
            rows.writerows([number, tag.replace(" ", "_"), 0, COUNTS["world"]] for number, tag in enumerate(TAGS))


def onnx_bytes(clip: CLIPModel, probe: nn.Linear) -> bytes:
    """Return encoder and probe as an ONNX file with half-precision weights; input and output are those of WD14's taggers."""
    graph = Graph("pocket tagger", ("input", ["batch", SIDE, SIDE, 3]), ("output", ["batch", len(TAGS)]))
    name = graph.node("Transpose", ["input"], perm=[0, 3, 1, 2])
    name = graph.node("Mul", [name, graph.constant(np.array(1 / 127.5, np.float32))])
    name = graph.node("Add", [name, graph.constant(np.array(-1, np.float32))])
    name = image_encoder(graph, clip.vision_model, name, swapped=True)
    weights = [graph.weight(each.detach().numpy()) for each in (probe.weight, probe.bias)]
    likely = graph.node("Exp", [graph.node("Gemm", [name, *weights], transB=1)])
    groups, tags = _sums_and_choice()
    share = graph.node("Div", [likely, graph.node("MatMul", [likely, graph.weight(groups)])])
    graph.node("MatMul", [share, graph.weight(tags)], output="output")
    return graph.model("lorapipe")


def _sums_and_choice() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return matrices that give each answer the sum of its group, (A, A), and choose the answers with tags, (A, tags)."""
    groups = torch.block_diag(*(torch.ones(count, count) for count in GROUPS))
    tags = torch.block_diag(*(torch.eye(count, count - 1) for count in GROUPS))
    return groups.numpy(), tags.numpy()
