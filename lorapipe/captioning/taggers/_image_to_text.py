"""A loaded image-to-text or vision-language model of transformers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.captioning.taggers import LoadedTagger, Tagging
from lorapipe.errors import InputError, shortened
from lorapipe.picture_files.captions import one_line

if TYPE_CHECKING:
    from PIL.Image import Image

CLASSES = ("AutoModelForImageTextToText", "AutoModelForVision2Seq")
"""Classes of transformers that load such models, the newest first."""
QUESTION = "Describe this image in detail, in one paragraph."
"""What a model that chats is asked if there is no prompt."""
FLORENCE_TASK = "<MORE_DETAILED_CAPTION>"


class ImageToText(LoadedTagger):
    """The model of a folder, and its processor."""

    def __init__(self, folder: Path, device: str, prompt: str, most_tokens: int, beams: int) -> None:
        import torch

        self._folder, self._device = folder, device
        kind = torch.bfloat16 if device.startswith("cuda") else torch.float32
        self._processor, model = _loaded(folder, kind)
        self._model = model.eval().to(device)
        self._kind = kind
        self._prompt = self._worded(prompt)
        self._options = {"max_new_tokens": most_tokens, "num_beams": beams, "do_sample": False}

    def _worded(self, prompt: str) -> str:
        """Return the text that goes with each picture: a chat model's question in its template, else the prompt."""
        if getattr(self._processor, "chat_template", None):
            content = [{"type": "image"}, {"type": "text", "text": prompt or QUESTION}]
            messages = [{"role": "user", "content": content}]
            return str(self._processor.apply_chat_template(messages, add_generation_prompt=True))
        is_florence = "florence" in str(getattr(self._model.config, "model_type", ""))
        return prompt or (FLORENCE_TASK if is_florence else "")

    def prepare(self, picture: Image) -> Any:
        return picture

    def tag(self, prepared: Sequence[Any]) -> list[Tagging]:
        import torch

        texts = {"text": [self._prompt] * len(prepared)} if self._prompt else {}
        inputs = self._processor(images=list(prepared), return_tensors="pt", padding=True, **texts)
        inputs = {name: self._placed(value) for name, value in inputs.items()}
        with torch.inference_mode():
            found = self._model.generate(**inputs, **self._options)
        given = inputs.get("input_ids")
        if given is not None and found.shape[1] > given.shape[1] and bool((found[:, : given.shape[1]] == given).all()):
            found = found[:, given.shape[1] :]  # decoder-only models repeat the prompt
        written = self._processor.batch_decode(found, skip_special_tokens=True)
        return [Tagging(self._caption(text)) for text in written]

    def _placed(self, value: Any) -> Any:
        value = value.to(self._device)
        return value.to(self._kind) if value.is_floating_point() else value

    def _caption(self, text: str) -> str:
        text = one_line(re.sub(r"</?s>|<pad>", "", text))
        plain = self._prompt.strip()
        return text.removeprefix(plain).strip(" ,:") if plain and not plain.startswith("<") else text


def _loaded(folder: Path, kind: Any) -> tuple[Any, Any]:
    """Return processor and model of a folder. `InputError` if they cannot be loaded."""
    import transformers

    families = [each for name in CLASSES if (each := getattr(transformers, name, None)) is not None]
    try:
        processor = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
        error: Exception | None = None
        for family in families:
            try:
                return processor, family.from_pretrained(folder, local_files_only=True, dtype=kind)
            except ValueError as refused:  # this class does not know such models: another may
                error = error or refused
        raise error or ValueError("this version of transformers has no class for it")
    except (OSError, ValueError, KeyError, ImportError, TypeError, RuntimeError) as problem:
        what = (
            f"cannot be loaded as an image-to-text model: {shortened(str(problem).strip().partition(chr(10))[0], 200)}"
        )
        cure = (
            "It needs config.json, weights, tokenizer and preprocessor_config.json, of a kind that transformers knows."
        )
        raise InputError(what, where=str(folder), cure=cure) from None
