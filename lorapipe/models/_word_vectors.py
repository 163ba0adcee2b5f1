"""Words of captions that have vectors of their own: textual inversion (Gal et al. 2022, arXiv:2208.01618).

The vocabulary and its table stay as they are. In the tokens of a caption a word stands as one negative id for each of its
vectors, and the vectors are put into the token embedding's output at these places, so that gradients flow to them alone.
(An id above the vocabulary's would be taken for the caption's end by text encoders that look for the largest id.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class WordVectors:
    """The words of one text encoder: word → its vectors (n, d), which stand for it as n tokens one after another."""

    def __init__(self, vectors: Mapping[str, Tensor]) -> None:
        self.vectors = dict(vectors)
        self._ids: dict[str, list[int]] = {}
        start = 0
        for word, rows in vectors.items():
            self._ids[word.lower()] = [-1 - row for row in range(start, start + len(rows))]
            start += len(rows)

    def split(self, text: str) -> Iterator[tuple[str, Sequence[int]]]:
        """A text → (what is before a word, the word's ids), and at last (what is left, none).

        Words count whole, whatever their case; ComfyUI's `embedding:penny` is the word too.
        """
        done = 0
        for found in self._pattern.finditer(text) if self._ids else ():
            yield text[done : found.start()], self._ids[found[1].lower()]
            done = found.end()
        yield text[done:], ()

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        names = "|".join(re.escape(word) for word in sorted(self._ids, key=len, reverse=True))
        return re.compile(rf"(?<!\w)(?<!\w-)(?:embedding:)?({names})(?!\w|-\w)", re.IGNORECASE)

    @contextmanager
    def placed(self, text_encoder: Any, ids: Tensor) -> Iterator[Tensor]:
        """Within: a text encoder reads the ids that are given, in which words have an ordinary one, with words' vectors."""
        import torch

        if not self._ids or not bool((ids < 0).any()):
            yield ids
            return
        table = text_encoder.get_input_embeddings()
        rows = torch.cat([rows.to(table.weight.device) for rows in self.vectors.values()])

        def place(module: object, arguments: object, output: Tensor) -> Tensor:
            return torch.where((ids < 0)[..., None], rows[(-1 - ids).clamp(min=0)].to(output.dtype), output)

        hook = table.register_forward_hook(place)
        try:
            yield ids.clamp(min=0)
        finally:
            hook.remove()


NO_WORDS = WordVectors({})
