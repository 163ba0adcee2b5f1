"""Weighted captions: A1111's syntax, and what it does to the encoded text."""

from __future__ import annotations

import pytest
import torch

from lorapipe.models import TextReading
from lorapipe.models._clip_text import emphasis, pieces, weighed
from lorapipe.models.sd15 import SD15
from lorapipe.models.sdxl import SDXL

SPELLED = {
    "normal text": [("normal text", 1.0)],
    "an (important) word": [("an ", 1.0), ("important", 1.1), (" word", 1.0)],
    "(unbalanced": [("unbalanced", 1.1)],
    r"\(literal\]": [("(literal]", 1.0)],
    "(unnecessary)(parens)": [("unnecessaryparens", 1.1)],
    "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": [
        ("a ", 1.0), ("house", 1.573), (" ", 1.1), ("on", 1.0), (" a ", 1.1), ("hill", 0.55), (", sun, ", 1.1),
        ("sky", 1.4641), (".", 1.1),
    ],
    "10:30, closed)": [("10:30, closed)", 1.0)],
    "(:-1.2.3)": [("", 1.0)],
}  # fmt: skip
"""The examples of A1111's own `parse_prompt_attention`, and two odd ones."""


@pytest.mark.parametrize("caption", SPELLED)
def test_captions_fall_into_weighted_pieces(caption: str) -> None:
    found = pieces(caption)
    if caption == "(:-1.2.3)":
        assert all(weight > 0 for _, weight in found)
        return
    assert [text for text, _ in found] == [text for text, _ in SPELLED[caption]]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in SPELLED[caption]])


def test_weights_reach_the_tokens_they_are_of_and_the_mean_stays(base: SD15) -> None:
    model = base.load("cpu")
    tokenizer = model.tokenizer(model.texts[0])
    weights = emphasis(tokenizer, ["a (red:1.5) hat", "a red hat"], 75)
    count = [len(tokenizer(text, add_special_tokens=False).input_ids) for text in ("a ", "red")]
    assert weights.shape == (2, 77) and (weights[1] == 1).all()
    assert (weights[0, 1 + count[0] : 1 + sum(count)] == 1.5).all() and weights[0].sum() == 77 + 0.5 * count[1]
    with torch.no_grad():
        for module in model.part(model.texts[0].name).modules():  # real ones have a bias at the end, and so a mean
            if isinstance(module, torch.nn.LayerNorm):
                module.bias.fill_(0.3)
        plain = model.encode_text(["a red hat"])["hidden"]
        found = model.encode_text(["a (red:1.5) hat"], TextReading(weighted=True))["hidden"]
    expected = plain * weights[:1, :, None]
    assert torch.allclose(found, expected * plain.mean() / expected.mean(), atol=1e-5)
    assert torch.allclose(weighed(plain, torch.ones(1, 77)), plain, atol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 1e-9], ids=["no mean", "rounding error"])
def test_a_mean_that_says_nothing_is_not_restored(shift: float) -> None:
    normal = torch.randn(1, 77, 32, generator=torch.Generator().manual_seed(0))
    states = torch.nn.functional.layer_norm(normal, (32,)) + shift if shift else torch.zeros(1, 77, 32)
    weights = torch.ones(1, 77)
    weights[0, 3:6] = 1.3
    assert torch.equal(weighed(states, weights), states * weights[:, :, None])


def test_gradients_have_bounds_where_the_mean_is_next_to_nothing(base: SD15) -> None:
    """As of a text encoder that ends in a plain layer norm: through the ratio of means they would be infinite."""
    normal = torch.randn(2, 77, 32, generator=torch.Generator().manual_seed(0))
    states = (torch.nn.functional.layer_norm(normal, (32,)) + 1e-6).requires_grad_()
    weights = torch.ones(2, 77)
    weights[0, 3:6] = 1.3
    found = weighed(states, weights)
    assert torch.equal(found[1], states[1])
    (found / found.detach().abs().mean((1, 2), keepdim=True)).square().sum().backward()
    assert states.grad is not None and states.grad.abs().max() < 1e3


def test_unweighted_captions_are_spelled_as_they_stand(base: SD15) -> None:
    model = base.load("cpu")
    with torch.no_grad():
        spelled, obeyed = (
            model.encode_text(["a (red:1.5) hat"], TextReading(weighted=w))["hidden"] for w in (False, True)
        )
        plain, unmarked = (model.encode_text(["a red hat"], TextReading(weighted=w))["hidden"] for w in (False, True))
    assert torch.equal(plain, unmarked)
    assert not torch.allclose(spelled, obeyed, atol=1e-3)


def test_sdxl_weighs_both_its_text_encoders(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = SDXL.tiny(tmp_path_factory.mktemp("sdxl")).load("cpu")
    with torch.no_grad():
        plain, told = (
            model.encode_text(["a red hat"]),
            model.encode_text(["a (red:1.5) hat"], TextReading(weighted=True)),
        )
    assert torch.equal(plain["pooled"], told["pooled"])
    half = plain["hidden"].shape[2] // 2
    for part in (slice(None, half), slice(half, None)):
        assert not torch.allclose(plain["hidden"][..., part], told["hidden"][..., part], atol=1e-3)
