"""Captions → tokens → hidden states, as the reference trainer does it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lorapipe.models._word_vectors import NO_WORDS, WordVectors

if TYPE_CHECKING:
    import torch

CHUNK = 75
"""Tokens of one pass of CLIP's text encoder without its two ends."""


WEIGHTS = re.compile(r"\\[()\[\]\\]|\(|\[|:\s*([+-]?[.\d]+)\s*\)|\)|\]|[^\\()\[\]:]+|:|\\")
"""The marks of A1111's prompts (`prompt_parser.py`): escaped brackets, brackets, `:1.3)`, and what is between them."""
STRONGER = 1.1
"""What a pair of round brackets multiplies a weight by, and a pair of square ones divides it by."""
CLOSING = {")": ("(", STRONGER), "]": ("[", 1 / STRONGER)}


def pieces(caption: str) -> list[tuple[str, float]]:
    """A caption in A1111's syntax → its pieces with their weights: `a (red:1.3) hat` → a 1, red 1.3, hat 1.

    `(x)` is 1.1, `[x]` 1/1.1, `(x:w)` w; they may stand in each other; `\\(` is a bracket. Brackets without a partner
    count to the end.
    """
    found: list[tuple[str, float]] = []
    opened: list[tuple[str, int]] = []

    def close(kind: str, factor: float) -> bool:
        if not opened or opened[-1][0] != kind:
            return False
        _, start = opened.pop()
        found[start:] = [(text, weight * factor) for text, weight in found[start:]]
        return True

    for mark in WEIGHTS.finditer(caption):
        text = mark[0]
        if text in ("(", "["):
            opened.append((text, len(found)))
            continue
        kind, factor = CLOSING.get(text, ("", 1.0)) if mark[1] is None else ("(", _number(mark[1]))
        if not close(kind, factor):
            found.append((text[1:] if len(text) == 2 and text[0] == "\\" else text, 1.0))
    while opened:
        close(*CLOSING[{"(": ")", "[": "]"}[opened[-1][0]]])
    return _merged(found)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # 1.2.3
        return 1.0


def _merged(found: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Neighbours of the same weight put together."""
    merged: list[tuple[str, float]] = []
    for text, weight in found:
        if merged and merged[-1][1] == weight:
            merged[-1] = (merged[-1][0] + text, weight)
        else:
            merged.append((text, weight))
    return merged


def emphasis(tokenizer: Any, captions: Sequence[str], max_tokens: int, words: WordVectors = NO_WORDS) -> torch.Tensor:
    """The weight of each of the joined hidden states, (B, max_tokens + 2); 1 but for weighted pieces."""
    import torch

    weights = torch.ones(len(captions), max_tokens + 2)
    for row, caption in zip(weights, captions, strict=True):
        told = [weight for text, weight in pieces(caption) for _ in token_ids(tokenizer, text, words)][:max_tokens]
        row[1 : 1 + len(told)] = torch.tensor(told)
    return weights


def weighed(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Hidden states (B, n, d) times their weights (B, n), the mean of each caption kept: as kohya's and A1111's.

    The factor that keeps it is a constant to gradients, and 1 where nothing is weighted: means may be near 0, and a gradient
    through their ratio is then without bounds.
    """
    import torch

    weights = weights.to(hidden.device, hidden.dtype)
    told = hidden * weights[:, :, None]
    with torch.no_grad():
        factor = hidden.float().mean((1, 2)) / told.float().mean((1, 2))
        factor[(weights == 1).all(1)] = 1
    return told * factor[:, None, None].to(hidden.dtype)


def tokenize(
    tokenizer: Any,
    captions: Sequence[str],
    max_tokens: int,
    pad: int | None = None,
    weighted: bool = False,
    words: WordVectors = NO_WORDS,
) -> torch.Tensor:
    """Token ids (B, n, 77): each caption cut to `max_tokens` and laid out in n chunks of 75 between BOS and EOS.

    What is left of a chunk is filled with `pad`, by default the tokenizer's own. Of `weighted` captions the marks are left
    out. Each of `words` is as many negative ids as it has vectors.

    The chunking of sd-scripts (`strategy_base.py`). Text that spells a special token is spelled: a caption is data.
    """
    import torch

    if max_tokens < CHUNK or max_tokens % CHUNK:
        raise ValueError(f"max_tokens is {max_tokens}; it must be 75, 150 or 225")
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    pad = next(token for token in (pad, tokenizer.pad_token_id, eos) if token is not None)
    rows = []
    for caption in captions:
        texts = [text for text, _ in pieces(caption)] if weighted else [caption]
        ids = [token for text in texts for token in token_ids(tokenizer, text, words)][:max_tokens]
        chunks = [ids[start : start + CHUNK] for start in range(0, max_tokens, CHUNK)]
        rows.append([[bos, *chunk, eos, *[pad] * (CHUNK - len(chunk))] for chunk in chunks])
    return torch.tensor(rows)


def token_ids(tokenizer: Any, caption: str, words: WordVectors = NO_WORDS) -> list[int]:
    """The tokens of a caption without its two ends; text that spells a special token is spelled."""
    return [token for text, of_word in words.split(caption) for token in (*_text_ids(tokenizer, text), *of_word)]


def _text_ids(tokenizer: Any, caption: str) -> list[int]:
    # No truncation by the tokenizer, hence no warning about lengths: the chunks decide.
    encoded = tokenizer(caption, add_special_tokens=False, split_special_tokens=True, truncation=False, verbose=False)
    ids: list[int] = encoded.input_ids
    return ids


def hidden_states(text_encoder: Any, ids: torch.Tensor, clip_skip: int, words: WordVectors = NO_WORDS) -> torch.Tensor:
    """Hidden states (B, n·75 + 2, d) of chunked ids (B, n, 77): the first BOS, all the chunks' insides, the last EOS.

    `clip_skip` 1 is the last layer, 2 the last but one; the final layer norm is applied to either.
    """
    output = _output(text_encoder, ids, words, layers=clip_skip > 1)
    if clip_skip > 1:
        norm = getattr(text_encoder, "text_model", text_encoder).final_layer_norm
        return joined(norm(output.hidden_states[-clip_skip]), ids)
    return joined(output.last_hidden_state, ids)


def penultimate(
    text_encoder: Any, ids: torch.Tensor, words: WordVectors = NO_WORDS
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The last layer but one as it is, without the final norm, and the pooled text (B, d) where there is a projection.

    What SDXL reads (Podell et al. 2023, arXiv:2307.01952, §2.1); the pooled text is the first chunk's, as kohya's.
    """
    output = _output(text_encoder, ids, words, layers=True)
    pooled = getattr(output, "text_embeds", None)
    if pooled is not None:
        pooled = pooled.reshape(*ids.shape[:2], -1)[:, 0]
    return joined(output.hidden_states[-2], ids), pooled


def _output(text_encoder: Any, ids: torch.Tensor, words: WordVectors, layers: bool) -> Any:
    with words.placed(text_encoder, ids.flatten(0, 1).to(text_encoder.device)) as plain:
        return text_encoder(plain, output_hidden_states=layers)


def joined(states: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Chunks' states (B·n, 77, d) as one text: (B, n·75 + 2, d)."""
    import torch

    states = states.reshape(*ids.shape, -1)
    inside = states[:, :, 1:-1].flatten(1, 2)
    return torch.cat([states[:, 0, :1], inside, states[:, -1, -1:]], dim=1)
