"""Training sets of drawings: pictures, tag labels and tokenized captions, drawn once on all cores."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTokenizer

from lorapipe.pocket.draw import draw
from lorapipe.pocket.world import ATTRIBUTES, TAGS, Creature, nonsense, sample, tags
from tools.pocket.dim_pens import dim_pen
from tools.pocket.subjects import draw_subject
from tools.pocket.subjects.kit import Subject
from tools.pocket.tokenizer import LENGTH, write_tokenizer

COUNTS = {"world": 90_000, "subjects": 70_000, "pairs": 30_000}
"""Size of each pool: creatures; subjects in named styles; pairs of views of subjects, a third in any style."""
FIRST = {"subjects": 1_000_000, "pairs": 3_000_000, "dim": 5_000_000}
"""The number of a pool's first subject. `dim` are creatures and subjects by `dim_pens`."""
WILD, DIM_SUBJECTS = 0.35, 0.3
CAPTIONS = 5
"""Captions per picture."""
UNSAID = frozenset({"no hat", "empty hands", "plain"})
"""Tags that captions of subjects leave out."""
ABSENT = -100
"""Label of an attribute that a picture lacks; `cross_entropy` ignores it."""
PART = 500


@dataclass(frozen=True)
class Pool:
    """A training set: `pictures` (N, 64, 64, 3) bytes; `answers` (N, attributes), indices of tags in `ATTRIBUTES`;
    `tokens` (N, CAPTIONS, 77)."""

    pictures: Tensor
    answers: Tensor
    tokens: Tensor

    def __len__(self) -> int:
        return len(self.pictures)


def pool(work: Path, kind: str, count: int | None = None, seed: int = 0) -> Pool:
    """Load a pool of `COUNTS` from `work`, and draw it first if it is missing."""
    count = COUNTS[kind] if count is None else count
    files = [work / f"{kind}-{count}-{seed}-{name}.npy" for name in ("pictures", "answers", "tokens")]
    if not all(file.exists() for file in files):
        work.mkdir(parents=True, exist_ok=True)
        jobs = [(kind, first, min(PART, count - first), seed) for first in range(0, count, PART)]
        with get_context("spawn").Pool(os.cpu_count()) as processes:
            parts = processes.starmap(_drawn, jobs, chunksize=1)
        for file, arrays in zip(files, zip(*parts, strict=True), strict=True):
            np.save(file.with_suffix(".part.npy"), np.concatenate(arrays))
            file.with_suffix(".part.npy").replace(file)
    return Pool(*(torch.from_numpy(np.load(file)) for file in files))


def picked(is_first: Tensor, first: int, whole: int) -> Tensor:
    """Draw random indices (B) into concatenated pools: among the `first` where `is_first` (B), else among the rest.

    They come from the device's generator, as a step that is captured as a CUDA graph needs.
    """
    chance = torch.rand(len(is_first), device=is_first.device)
    return torch.where(is_first, chance * first, first + chance * (whole - first)).long().clamp(max=whole - 1)


def random_places(count: int, whole: int, device: str | torch.device) -> Tensor:
    """Draw `count` random indices below `whole`."""
    return (torch.rand(count, device=device) * whole).long().clamp(max=whole - 1)


def tags_by_name(creature: Creature) -> dict[str, str]:
    """Return a creature's tags by attribute."""
    return {name: getattr(creature, name) for name in ATTRIBUTES}


def answers_of(named: Mapping[str, str]) -> list[int]:
    """Return the index of each attribute's tag among its values; `ABSENT` where there is none."""
    return [values.index(named[name]) if named.get(name) in values else ABSENT for name, values in ATTRIBUTES.items()]


def encoded(words: Sequence[str]) -> list[int]:
    """Return a caption's tokens, like the tokenizer for the words joined by commas: start, words, end, padding."""
    tokenizer = _tokenizer()
    row = [tokenizer.bos_token_id]
    for number, word in enumerate(words):
        row += [*(_tokens_of(",") if number else ()), *_tokens_of(word)]
    row = [*row[: LENGTH - 1], tokenizer.eos_token_id]
    return row + [tokenizer.pad_token_id] * (LENGTH - len(row))


def tag_tokens() -> Tensor:
    """Return each of `TAGS` as a tokenized caption, (tags, 77)."""
    return torch.tensor([encoded([tag]) for tag in TAGS])


def shuffled(words: Iterable[str], rng: Random) -> list[str]:
    """Return a caption's words like `world.caption`: shuffled, some dropped, sometimes a meaningless one added."""
    chosen = [*words]
    rng.shuffle(chosen)
    if chosen and rng.random() < 0.5:
        chosen = chosen[: rng.randint(1, len(chosen))]
    if rng.random() < 0.15:
        chosen.insert(rng.randint(0, len(chosen)), nonsense(rng))
    return chosen


def words_of(subject: Subject) -> list[str]:
    """Return the words that a caption of a subject may contain."""
    return [*subject.words, *(tag for tag in subject.tags.values() if tag not in UNSAID)]


def _drawn(
    kind: str, first: int, count: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int16], NDArray[np.int16]]:
    rng = Random(f"{kind} {first} {seed}")
    pictures, answers, tokens = [], [], []
    for number in range(first, first + count):
        for picture, named, words in _views(kind, number, seed, rng):
            pictures.append(picture)
            answers.append(answers_of(named))
            tokens.append([encoded(shuffled(words, rng)) for _ in range(CAPTIONS)])
    return np.stack(pictures), np.array(answers, np.int16), np.array(tokens, np.int16)


def _views(
    kind: str, number: int, seed: int, rng: Random
) -> Iterable[tuple[NDArray[np.uint8], Mapping[str, str], list[str]]]:
    if kind == "world":
        creature = sample(rng)
        yield np.asarray(draw(creature)), tags_by_name(creature), tags(creature)
        return
    if kind == "dim":
        yield _dim_view(FIRST[kind] + 10_000_000 * seed + number, rng)
        return
    for view in range(2 if kind == "pairs" else 1):
        number_of = FIRST[kind] + 10_000_000 * seed + number
        picture, subject = draw_subject(number_of, view, WILD if kind == "pairs" else 0.0)
        yield np.asarray(picture), subject.tags, words_of(subject)


def _dim_view(number: int, rng: Random) -> tuple[NDArray[np.uint8], Mapping[str, str], list[str]]:
    """Draw a creature or a subject with a pen of `dim_pens`."""
    pen = dim_pen(rng)
    if rng.random() < DIM_SUBJECTS:
        picture, subject = draw_subject(number, pen=pen)
        return np.asarray(picture), subject.tags, words_of(subject)
    creature = sample(rng)
    return np.asarray(draw(creature, pen)), tags_by_name(creature), tags(creature)


@cache
def _tokenizer() -> CLIPTokenizer:
    with TemporaryDirectory() as folder:
        return write_tokenizer(Path(folder))


@cache
def _tokens_of(text: str) -> tuple[int, ...]:
    return tuple(_tokenizer()(text).input_ids[1:-1])
