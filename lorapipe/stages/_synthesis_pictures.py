"""Pictures that a synthesis reads and writes: true ones, those of earlier syntheses, and what it starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from PIL import ImageOps

from lorapipe.evaluation.picture_synthesis import EarlierPicture
from lorapipe.evaluation.probe import compared, training_pictures
from lorapipe.evaluation.sampler import Start
from lorapipe.stages._training_settings import captioning_of
from lorapipe.training.data import generated_pictures
from lorapipe.training.data.captions import CaptionFiles
from lorapipe.training.data.generated_pictures import GeneratedPicture
from lorapipe.training.data.image_folder import look_through
from lorapipe.training.data.images import to_pixels
from lorapipe.training.data.latents import Scene
from lorapipe.training.data.manifest import Manifest

if TYPE_CHECKING:
    from PIL.Image import Image

    from lorapipe.evaluation.candidates import Candidate
    from lorapipe.evaluation.image_store import ImageSlot
    from lorapipe.evaluation.sampler import Sampler
    from lorapipe.pipeline.artifacts import Dataset
    from lorapipe.pipeline.context import Context
    from lorapipe.training_record import TrainingRecord


@dataclass(frozen=True)
class TruePictures:
    """The true pictures of a dataset as the trainer sees them, with their captions, and its manifest; there may be none.

    Pictures that were themselves generated are left out: nothing is held against them.
    """

    pictures: Sequence[Image] = ()
    captions: Sequence[str] = ()
    manifest: Manifest | None = None

    @classmethod
    def of(cls, dataset: Dataset | None, record: TrainingRecord | None) -> Self:
        """Read the pictures of a dataset. `record` is of the training on it, whose captions are read."""
        if dataset is None:
            return cls()
        manifest = Manifest.load(dataset.manifest)
        if true := tuple(each for each in manifest.pictures if not each.generated):
            manifest = replace(manifest, pictures=true)
        captioning = captioning_of(record, manifest)
        return cls(
            training_pictures(manifest, Scene(dataset.images, manifest.background, dataset.masks)),
            [captioning.canonical(each.caption) for each in compared(manifest)],
            manifest,
        )

    @property
    def resolution(self) -> tuple[int, int] | None:
        """The size that they are trained at; None where there are none."""
        return self.manifest.resolution if self.manifest else None


def painted_over(
    true: Sequence[Image], sampler: Sampler, denoise: float, count: int, slots: Sequence[ImageSlot]
) -> Start:
    """Return the start of img2img: the latents of true pictures, in turn, cropped to the sampler's size.

    `count` is the number of pictures of a prompt.
    """
    model, found = sampler.model, []
    for slot in slots:
        picture = true[(slot.prompt * count + slot.number) % len(true)]
        pixels = to_pixels(ImageOps.fit(picture, sampler.recipe.size))
        with torch.inference_mode():
            found.append(model.encode_images(pixels.to(model.device)))
    return Start(torch.cat(found), denoise)


def earlier_pictures(folder: Path) -> list[EarlierPicture]:
    """Return the pictures of a folder: those of its `lorapipe-generated.json`, or all, by their caption files."""
    found = generated_pictures.load(folder)
    if found:
        return [
            EarlierPicture(
                folder / each["file"],
                each["prompt"],
                each["seed"],
                each["strength"],
                each["style"],
                each["following"],
            )
            for each in found
            if (folder / each["file"]).is_file()
        ]
    contents = look_through(folder)
    captions = CaptionFiles(folder, contents.captions)
    return [EarlierPicture(folder / name, captions.of(name, "").text) for name in contents.pictures]


def ask_person(
    proposed: Sequence[Candidate], candidates: Sequence[Candidate], count: int, context: Context
) -> list[Candidate]:
    """Return the candidates that a person chooses, of all by their numbers from 1; `Unanswered` until there is an answer.

    They are numbered from the best down. An answer with other words than numbers of candidates is asked for again.
    """
    ranked = sorted(candidates, key=lambda each: -each.figures.merit)
    asked: dict[str, object] = {
        "kind": "pictures",
        "count": count,
        "proposed": [number for number, each in enumerate(ranked, start=1) if each in proposed],
        "pictures": [
            {"number": number, "file": str(each.path), "prompt": each.prompt, "merit": round(each.figures.merit, 4)}
            for number, each in enumerate(ranked, start=1)
        ],
    }
    what = f"{len(ranked)} pictures are painted: choose about {count} of them to train on."
    words = context.answer(what, asked).replace(",", " ").split()
    numbers = {int(word) for word in words if word.isascii() and word.isdigit()}
    chosen = [each for number, each in enumerate(ranked, start=1) if number in numbers]
    if len(chosen) != len({*words}):
        context.refuse_answer()
        asked["mistake"] = f"{' '.join(words)[:200]!r} is not a list of numbers from 1 to {len(ranked)}."
        context.answer(f"{asked['mistake']} {what}", asked)
    if not chosen:
        context.refuse_answer()
        context.answer(f"None is chosen. {what}", asked)
    return chosen


def generated_entry(file: Path, candidate: Candidate) -> GeneratedPicture:
    """Return what is written of a chosen picture beside it."""
    figures = candidate.figures

    def rounded(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.6g}")

    return GeneratedPicture(
        file=file.name,
        digest=hashlib.sha256(file.read_bytes()).hexdigest(),
        prompt=candidate.prompt,
        seed=candidate.seed,
        strength=candidate.strength,
        style=candidate.style,
        likeness=rounded(figures.likeness),
        following=rounded(figures.following),
        sound=rounded(figures.sound),
        copied=rounded(figures.copied),
        merit=rounded(figures.merit),
    )
