"""Image-to-text and vision-language models of transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.captioning.taggers import Tagger
from lorapipe.errors import Problem
from lorapipe.spec import Source, param

if TYPE_CHECKING:
    from lorapipe.captioning.taggers import LoadedTagger


@dataclass(frozen=True)
class Transformers(Tagger):
    """A local image-to-text or vision-language model of transformers: BLIP, BLIP-2, GIT, Florence-2, Qwen-VL, LLaVA and kin.

    It writes sentences, or what the prompt asks for. Code that a folder brings along is never run.
    """

    search_words: ClassVar[tuple[str, ...]] = (
        "blip",
        "florence",
        "vision language model",
        "interrogator",
        "image to text",
    )

    folder: Source = param(help="the model's folder: config.json, weights, tokenizer and preprocessor", shelf="taggers")
    prompt: str = param(
        "",
        "what the model is told: a question for a model that chats, the beginning of the caption for BLIP, a task for "
        "Florence-2 (<MORE_DETAILED_CAPTION>); empty: its own default",
    )
    most_tokens: int = param(150, "longest caption in tokens of the model", ge=1, le=4096)
    beams: int = param(
        1, "captions that are searched at once: 3 finds likelier ones, in three times the time", ge=1, le=16
    )
    batch: int = param(1, "pictures that are computed at once; fewer need less memory", ge=1, le=1024, content=False)

    def problems(self) -> Iterator[Problem]:
        if isinstance(self.folder, Source):
            yield from (Problem(what, cure=cure, path=("folder",)) for what, cure in _folder_problems(self.folder.path))

    def files(self) -> Iterator[Path]:
        yield self.folder.path

    def load(self, device: str) -> LoadedTagger:
        from lorapipe.captioning.taggers._image_to_text import ImageToText

        return ImageToText(self.folder.path, device, self.prompt, self.most_tokens, self.beams)


def _folder_problems(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what the folder lacks, with cures."""
    config, again = folder / "config.json", "Copy the model again, with all its files."
    if not folder.is_dir():
        yield f"{folder.name} is a file, not the folder of a model.", "Name the folder that has config.json."
        return
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        yield f"{folder.name} has no config.json.", again
        return
    except (OSError, ValueError) as error:
        yield f"config.json cannot be read: {str(error)[:100]}.", again
        return
    if not isinstance(found, dict) or not found.get("model_type"):
        yield "config.json does not say which model it is (model_type).", again
    names: Sequence[Any] = [each.suffix for each in folder.iterdir()]
    if not {".safetensors", ".bin"} & {*names}:
        yield f"{folder.name} has no weights (.safetensors).", again
