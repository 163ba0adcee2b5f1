"""Captions → tokens → hidden states, as the reference trainer does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

CHUNK = 75
"""Tokens of one pass of CLIP's text encoder without its two ends."""


def tokenize(tokenizer: Any, captions: Sequence[str], max_tokens: int) -> torch.Tensor:
    """Token ids (B, n, 77): each caption cut to `max_tokens` and laid out in n chunks of 75 between BOS and EOS.

    The chunking of sd-scripts (`strategy_base.py`). Text that spells a special token is spelled: a caption is data.
    """
    import torch

    if max_tokens < CHUNK or max_tokens % CHUNK:
        raise ValueError(f"max_tokens is {max_tokens}; it must be 75, 150 or 225")
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    pad = eos if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    rows = []
    for caption in captions:
        ids = _ids(tokenizer, caption)[:max_tokens]
        chunks = [ids[start : start + CHUNK] for start in range(0, max_tokens, CHUNK)]
        rows.append([[bos, *chunk, eos, *[pad] * (CHUNK - len(chunk))] for chunk in chunks])
    return torch.tensor(rows)


def _ids(tokenizer: Any, caption: str) -> list[int]:
    # No truncation by the tokenizer, hence no warning about lengths: the chunks decide.
    encoded = tokenizer(caption, add_special_tokens=False, split_special_tokens=True, truncation=False, verbose=False)
    ids: list[int] = encoded.input_ids
    return ids


def hidden_states(text_encoder: Any, ids: torch.Tensor, clip_skip: int) -> torch.Tensor:
    """Hidden states (B, n·75 + 2, d) of chunked ids (B, n, 77): the first BOS, all the chunks' insides, the last EOS.

    `clip_skip` 1 is the last layer, 2 the last but one; the final layer norm is applied to either.
    """
    import torch

    batch, chunks, length = ids.shape
    flat = ids.reshape(batch * chunks, length).to(text_encoder.device)
    output = text_encoder(flat, output_hidden_states=clip_skip > 1)
    if clip_skip > 1:
        norm = getattr(text_encoder, "text_model", text_encoder).final_layer_norm
        states = norm(output.hidden_states[-clip_skip])
    else:
        states = output.last_hidden_state
    states = states.reshape(batch, chunks, length, -1)
    inside = states[:, :, 1:-1].flatten(1, 2)
    return torch.cat([states[:, 0, :1], inside, states[:, -1, -1:]], dim=1)
