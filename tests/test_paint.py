"""The `paint` stage: pictures of prompts, with weights and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image

from lorapipe.errors import InputError
from lorapipe.models import Checkpoint
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline import loader
from lorapipe.pipeline.artifacts import Dataset, Pictures, Weights
from lorapipe.spec import Duration
from lorapipe.stages.paint import Paint
from lorapipe.stages.train import Train
from lorapipe.training.adapters.lora import LoRA

PROMPTS = ("penny, red", "penny, blue")


@pytest.fixture(scope="module")
def weights(folder: Path, dataset: Dataset) -> Weights:
    train = Train(dataset=dataset, adapter=LoRA(rank=4), steps=Duration(8), unet_lr=5e-3, batch=2)
    return train.run(tiny.Bench(folder).context("train"))


def painted(folder: Path, name: str, **knobs: Any) -> Pictures:
    return Paint(**{"prompts": PROMPTS, "steps": 3, **knobs}).run(tiny.Bench(folder).context(name))


def pixels(pictures: Pictures) -> list[np.ndarray[Any, Any]]:
    found = []
    for file in sorted(pictures.folder.glob("*.png")):
        with Image.open(file) as picture:
            found.append(np.asarray(picture.convert("RGB"), dtype=int))
    return found


def test_pictures_of_prompts_differ_by_prompt_seed_and_strength(folder: Path, weights: Weights) -> None:
    made = painted(
        folder, "two-of-each", weights=weights, pictures=2, batch=1
    )  # a batch of another size rounds otherwise
    assert [file.read_text("utf-8").strip() for file in sorted(made.folder.glob("*.txt"))] == [
        PROMPTS[0], PROMPTS[0], PROMPTS[1], PROMPTS[1],
    ]  # fmt: skip
    first, second, *_ = pixels(made)
    assert (first != second).any(), "another seed"
    with Image.open(made.sheet) as sheet:
        assert sheet.size == (4 * first.shape[1], first.shape[0])
    again = painted(folder, "again", weights=weights, batch=1)
    assert (pixels(again)[0] == first).all()
    strong = painted(folder, "strong", weights=weights, strength=2.0)
    assert (pixels(strong)[0] != first).any()


def test_the_base_alone_is_painted_with(folder: Path, weights: Weights) -> None:
    made = painted(folder, "base", base=weights.model, prompts=PROMPTS[:1])
    (alone,) = pixels(made)
    assert (alone != pixels(painted(folder, "learned", weights=weights, prompts=PROMPTS[:1]))[0]).any()


def test_nothing_to_paint_with_is_refused_before_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("stages:\n  p: {uses: paint, prompts: [a cat]}\n", encoding="utf-8")
    with pytest.raises(InputError, match="nothing to paint with"):
        loader.load(file)


def test_a_size_that_the_base_cannot_paint_is_an_error_at_its_setting(folder: Path) -> None:
    base = SD15(checkpoint=Checkpoint.parse("pocket", Path()))
    with pytest.raises(InputError, match="60x64 does not fit the base"):
        painted(folder, "odd", base=base, size=tiny_size("60x64"))


def tiny_size(text: str) -> Any:
    from lorapipe.training.data.buckets import Resolution

    return Resolution.parse(text, Path())
