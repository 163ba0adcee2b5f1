"""A CLIP model from a local folder: pictures and texts as unit vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from lorapipe.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from lorapipe.evaluation.features import Seen
    from lorapipe.evaluation.metrics import Vectors

T = TypeVar("T")
BATCH = 32


class Clip:
    """Loaded from a transformers folder: config, weights, tokenizer and preprocessor; never from a network."""

    def __init__(self, folder: Path, device: str) -> None:
        import torch
        from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

        try:
            model = CLIPModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            cure = (
                "It must be a transformers CLIP folder: config.json, weights, tokenizer and preprocessor_config.json."
            )
            raise InputError(
                f"cannot be loaded as a CLIP model: {_line(error)}", where=str(folder), cure=cure
            ) from None
        self._model = model.eval().to(device)
        self._device = device
        self._known: WeakKeyDictionary[Seen, Vectors] = WeakKeyDictionary()
        self.length: int = model.config.text_config.max_position_embeddings
        self.scale = float(model.logit_scale.exp())
        """Factor on similarities before a softmax over texts, which CLIP has learnt."""

    def seen(self, seen: Seen) -> Vectors:
        """`pictures` of what was seen; computed once, whichever measures ask."""
        if seen not in self._known:
            self._known[seen] = self.pictures(seen.pictures)
        return self._known[seen]

    def pictures(self, pictures: Sequence[Image]) -> Vectors:
        """(N, d) unit vectors."""
        return self._embed(pictures, self._pictures)

    def texts(self, texts: Sequence[str]) -> Vectors:
        """(N, d) unit vectors; what is longer than the model reads (75 tokens) is cut."""
        return self._embed(texts, self._texts)

    def _pictures(self, pictures: Sequence[Image]) -> Tensor:
        inputs = self._processor([picture.convert("RGB") for picture in pictures], return_tensors="pt")
        return self._model.get_image_features(inputs["pixel_values"].to(self._device))

    def _texts(self, texts: Sequence[str]) -> Tensor:
        inputs = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.length, return_tensors="pt"
        )
        inputs = {name: inputs[name].to(self._device) for name in ("input_ids", "attention_mask")}
        return self._model.get_text_features(**inputs)

    def _embed(self, items: Sequence[T], features: Callable[[Sequence[T]], Tensor]) -> Vectors:
        import numpy as np
        import torch

        found = []
        with torch.inference_mode():
            for start in range(0, len(items), BATCH):
                output = features(items[start : start + BATCH])
                vectors = getattr(output, "pooler_output", output)  # transformers 5 gives an output object
                found.append(torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy())
        return np.concatenate(found)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
