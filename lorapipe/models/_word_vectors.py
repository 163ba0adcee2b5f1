"""Trained words in captions: textual inversion (Gal et al. 2022, arXiv:2208.01618).

The vocabulary and the token embedding table are unchanged. A word becomes one negative token id for each of its vectors;
a hook writes the vectors into the token embedding's output at these positions, so that only they get gradients. (Text
encoders that find the caption's end by the largest id would take an id above the vocabulary for it.)
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
    """Words of one text encoder: word → vectors (n, d), read as n consecutive tokens."""

    def __init__(self, vectors: Mapping[str, Tensor]) -> None:
        self.vectors = dict(vectors)
        self._ids: dict[str, list[int]] = {}
        start = 0
        for word, rows in vectors.items():
            self._ids[word.lower()] = [-1 - row for row in range(start, start + len(rows))]
            start += len(rows)

    def split(self, text: str) -> Iterator[tuple[str, Sequence[int]]]:
        """Split a text at its words: yield (text before a word, the word's ids), at the end (the remaining text, ()).

        Only whole words match, case is ignored; ComfyUI's `embedding:penny` matches too.
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
        """Insert the words' vectors into a text encoder's token embeddings inside the context.

        Yields the ids with an ordinary id in the place of each negative one.
        """
        import torch

        if not self._ids:
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
