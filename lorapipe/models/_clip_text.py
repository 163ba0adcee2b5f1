"""CLIP text encoding: captions → tokens → hidden states, as in kohya's sd-scripts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lorapipe.models._word_vectors import NO_WORDS, WordVectors

if TYPE_CHECKING:
    import torch

CHUNK = 75
"""Tokens per pass of CLIP's text encoder, without BOS and EOS."""


WEIGHTS = re.compile(r"\\[()\[\]\\]|\(|\[|:\s*([+-]?[.\d]+)\s*\)|\)|\]|[^\\()\[\]:]+|:|\\")
"""Tokens of A1111's prompt syntax (`prompt_parser.py`): escaped brackets, brackets, `:1.3)`, and text between them."""
STRONGER = 1.1
"""Factor of a pair of round brackets; square brackets divide by it."""
CLOSING = {")": ("(", STRONGER), "]": ("[", 1 / STRONGER)}


def pieces(caption: str) -> list[tuple[str, float]]:
    """Parse a caption in A1111's syntax into texts and weights: `a (red:1.3) hat` → a 1, red 1.3, hat 1.

    `(x)` is 1.1, `[x]` 1/1.1, `(x:w)` w; brackets may be nested; `\\(` is a literal bracket. An unclosed bracket extends to
    the end.
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
    """Merge neighbours of equal weight."""
    merged: list[tuple[str, float]] = []
    for text, weight in found:
        if merged and merged[-1][1] == weight:
            merged[-1] = (merged[-1][0] + text, weight)
        else:
            merged.append((text, weight))
    return merged


def emphasis(tokenizer: Any, captions: Sequence[str], max_tokens: int, words: WordVectors = NO_WORDS) -> torch.Tensor:
    """Return the weight of each position of the joined hidden states, (B, max_tokens + 2)."""
    import torch

    weights = torch.ones(len(captions), max_tokens + 2)
    for row, caption in zip(weights, captions, strict=True):
        inner = [weight for text, weight in pieces(caption) for _ in token_ids(tokenizer, text, words)][:max_tokens]
        row[1 : 1 + len(inner)] = torch.tensor(inner)
    return weights


STEEPEST = 4.0
"""The largest factor by which `weighed` restores a mean; weights change the means of real text encoders by a few percent."""


def weighed(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Multiply hidden states (B, n, d) by weights (B, n), and restore each caption's mean, as kohya and A1111 do.

    The restoring factor is a constant for gradients, since means may be near 0 and the gradient of their ratio unbounded. It
    is 1 for captions without weights, and where it would be outside 1/`STEEPEST`..`STEEPEST`: then the mean is rounding
    error, as behind a layer norm without a bias, and says nothing.
    """
    import torch

    weights = weights.to(hidden.device, hidden.dtype)
    weighted = hidden * weights[:, :, None]
    with torch.no_grad():
        factor = hidden.float().mean((1, 2)) / weighted.float().mean((1, 2))
        is_meant = (weights != 1).any(1) & (factor > 1 / STEEPEST) & (factor < STEEPEST)  # False where it is no number
        factor = torch.where(is_meant, factor, 1)
    return weighted * factor[:, None, None].to(hidden.dtype)


def tokenize(
    tokenizer: Any,
    captions: Sequence[str],
    max_tokens: int,
    pad: int | None = None,
    weighted: bool = False,
    words: WordVectors = NO_WORDS,
) -> torch.Tensor:
    """Return token ids (B, n, 77): captions truncated to `max_tokens`, in n chunks of 75 between BOS and EOS.

    Chunks are filled up with `pad`, by default the tokenizer's. The weights of `weighted` captions are removed. Each of
    `words` becomes as many negative ids as it has embeddings. Chunks are as in sd-scripts (`strategy_base.py`). Special
    tokens in a caption are tokenized as ordinary text.
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
    """Return the token ids of a caption without BOS and EOS; special tokens in it are tokenized as ordinary text."""
    return [token for text, of_word in words.split(caption) for token in (*_text_ids(tokenizer, text), *of_word)]


def _text_ids(tokenizer: Any, caption: str) -> list[int]:
    # No truncation by the tokenizer, hence no warning about lengths: the chunks decide.
    encoded = tokenizer(caption, add_special_tokens=False, split_special_tokens=True, truncation=False, verbose=False)
    ids: list[int] = encoded.input_ids
    return ids


def hidden_states(text_encoder: Any, ids: torch.Tensor, words: WordVectors, clip_skip: int) -> torch.Tensor:
    """Return hidden states (B, n·75 + 2, d) of ids (B, n, 77): the first BOS, the chunks without their ends, the last EOS.

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
    """Return the last layer but one without the final norm, and the pooled text (B, d) if there is a projection.

    This is SDXL's condition (Podell et al. 2023, arXiv:2307.01952, §2.1); the pooled text is the first chunk's, as in
    kohya's scripts.
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
    """Join the states of chunks (B·n, 77, d) to one text: (B, n·75 + 2, d)."""
    import torch

    states = states.reshape(*ids.shape, -1)
    inside = states[:, :, 1:-1].flatten(1, 2)
    return torch.cat([states[:, 0, :1], inside, states[:, -1, -1:]], dim=1)
