"""What is said of pictures: as the reference trainer does it, and the same after every resumption."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import torch

from lorapipe.spec import Warmup
from lorapipe.training.caption_augment import Captioning, CaptionSampler
from lorapipe.training.data.batches import Batch

TAGS = "penny, red hat, blue eyes, smile, park"


def ways(count: int = 300, caption: str = TAGS, **knobs: Any) -> list[str]:
    return [Captioning(**knobs).varied(caption, random.Random(f"{number}")) for number in range(count)]


def batch(epoch: int = 0, *, indices: tuple[int, ...] = (0, 1), repeats: tuple[int, ...] = (0, 0)) -> Batch:
    class Said(Batch):
        captions = tuple(TAGS for _ in indices)

    return Said(0, epoch, indices, repeats, (), torch.empty(0))


def test_by_default_a_caption_is_said_as_it_is() -> None:
    strange = " a ,b,,  {x|y} ||| (tag:1.3)"
    assert set(ways(caption=strange)) == {strange}
    assert CaptionSampler(Captioning(), 0, limited=True).all_variants([TAGS, strange]) == [TAGS, strange]


def test_shuffling_keeps_every_tag_and_those_that_are_kept_in_place() -> None:
    said = ways(shuffle=True, keep_tokens=2)
    assert {tuple(sorted(text.split(", "))) for text in said} == {tuple(sorted(TAGS.split(", ")))}
    assert all(text.startswith("penny, red hat, ") for text in said)
    counts = Counter(said)
    assert len(counts) == 6 and min(counts.values()) > 25  # 3! orders, 50 expected of each


def test_a_separator_keeps_both_ends_and_is_not_said() -> None:
    said = ways(caption="penny ||| a, b, c ||| best quality", shuffle=True, keep_separator="|||")
    assert all(text.startswith("penny, ") and text.endswith(", best quality") for text in said)
    assert len(set(said)) == 6 and not any("|" in text for text in said)


def test_where_a_caption_has_no_mark_tags_are_counted() -> None:
    knobs: dict[str, Any] = {"shuffle": True, "keep_tokens": 1, "keep_separator": "|||"}
    assert not [*Captioning(**knobs).problems()]
    assert all(text.startswith("a, b, ") for text in ways(caption="a, b ||| c, d", **knobs))
    assert {text[:2] for text in ways(caption="a, b, c", **knobs)} == {"a,"} and len(
        set(ways(caption="a, b, c", **knobs))
    ) == 2


def test_tags_are_dropped_by_chance_but_not_those_that_are_kept() -> None:
    said = ways(1000, tag_dropout=0.25, keep_tokens=1)
    assert all(text.startswith("penny") for text in said)
    dropped = 1 - sum(len(text.split(", ")) - 1 for text in said) / 4000
    assert dropped == pytest.approx(0.25, abs=0.03)


def test_prefix_suffix_and_wildcards() -> None:
    assert set(ways(caption="a {red|green} {hat}", prefix="ohwx", suffix="photo", wildcards=True)) == {
        "ohwx a red {hat} photo",
        "ohwx a green {hat} photo",
    }
    assert set(ways(caption="", prefix="ohwx")) == {"ohwx"}


def test_a_whole_caption_is_dropped_with_its_prefix() -> None:
    sampler = CaptionSampler(Captioning(dropout=0.2, prefix="ohwx"), 0, limited=False)
    said = [text for epoch in range(500) for text in sampler.sample(batch(epoch))]
    assert set(said) == {"", f"ohwx {TAGS}"}
    assert said.count("") / 1000 == pytest.approx(0.2, abs=0.04)


@pytest.mark.parametrize("limited", [True, False])
def test_in_every_nth_epoch_nothing_is_said(limited: bool) -> None:
    """kohya counts epochs from 1: with 3, the third, the sixth …"""
    sampler = CaptionSampler(Captioning(dropout_epochs=3), 0, limited)
    silent = [epoch for epoch in range(9) if set(sampler.sample(batch(epoch))) == {""}]
    assert silent == [2, 5, 8]
    assert set(sampler.sample(batch(0))) == {TAGS} and sampler.all_variants([TAGS]) == [TAGS, ""]


@pytest.mark.parametrize("limited", [True, False])
def test_it_depends_on_seed_epoch_picture_and_repeat_alone(limited: bool) -> None:
    captioning = Captioning(shuffle=True, dropout=0.1, variants=50)
    sampler = CaptionSampler(captioning, 3, limited)
    one_by_one = [sampler.sample(batch(4, indices=(i,), repeats=(r,)))[0] for i in range(3) for r in range(2)]
    assert sampler.sample(batch(4, indices=(0, 0, 1, 1, 2, 2), repeats=(0, 1) * 3)) == tuple(one_by_one)
    assert len(set(one_by_one)) > 3
    assert CaptionSampler(captioning, 3, limited).sample(batch(4)) == sampler.sample(batch(4))
    assert CaptionSampler(captioning, 4, limited).sample(batch(4)) != sampler.sample(batch(4))
    assert sampler.sample(batch(5)) != sampler.sample(batch(4))


def test_what_is_encoded_beforehand_is_all_that_is_ever_said() -> None:
    sampler = CaptionSampler(Captioning(shuffle=True, tag_dropout=0.2, dropout=0.1, variants=5), 0, limited=True)
    everything = sampler.all_variants([TAGS])
    said = {text for epoch in range(200) for text in sampler.sample(batch(epoch))}
    assert said == set(everything)
    assert 2 < len(everything) <= 6


@pytest.mark.parametrize(
    ("knobs", "field"),
    [
        ({"keep_tokens": 1}, "keep_tokens"),
        ({"separator": " "}, "separator"),
        ({"token_warmup_min": 3}, "token_warmup_min"),
        ({"dropout_epochs": 1}, "dropout_epochs"),
    ],
)
def test_what_would_do_nothing_is_refused(knobs: dict[str, Any], field: str) -> None:
    (problem,) = Captioning(**knobs).problems()
    assert problem.path == (field,)


def test_a_warm_up_keeps_tags_and_a_mark_alone_is_taken_out() -> None:
    assert not [*Captioning(keep_tokens=1, token_warmup_step=Warmup(5)).problems()]
    marked = Captioning(keep_separator="|||")
    assert not [*marked.problems()]
    assert set(ways(caption="penny ||| a, b", keep_separator="|||")) == {"penny, a, b"}


def test_tags_that_belong_together_move_and_go_together() -> None:
    said = ways(caption="girl, sky;;;cloud;;;day, hat", shuffle=True, tag_dropout=0.3, secondary_separator=";;;")
    found = {text for text in said if "cloud" in text}
    assert len(found) > 1 and all("sky,cloud,day" in text for text in found)
    assert any("cloud" not in text for text in said)


def test_for_judging_a_caption_is_said_with_all_it_has_and_without_chance() -> None:
    captioning = Captioning(
        prefix="ohwx", shuffle=True, tag_dropout=0.9, wildcards=True, keep_separator="|||", secondary_separator=";;;",
        token_warmup_step=Warmup(10), dropout=0.5,
    )  # fmt: skip
    assert captioning.canonical("girl ||| {red|blue} hat, sky;;;day\nanother line") == "ohwx girl, red hat, sky,day"
    assert Captioning().canonical(" as it is,, ") == " as it is,, "


def test_wildcards_may_stand_in_each_other() -> None:
    assert set(ways(caption="{a {red|blue} hat|nothing}", wildcards=True)) == {"a red hat", "a blue hat", "nothing"}


def test_of_several_lines_one_is_said() -> None:
    assert set(ways(caption="a cat\na feline")) == {"a cat", "a feline"}
    sampler = CaptionSampler(Captioning(variants=20), 0, limited=True)
    assert set(sampler.all_variants(["a cat\na feline", "dog"])) == {"a cat", "a feline", "dog"}


def test_some_pictures_are_spoken_of_otherwise() -> None:
    own = {1: Captioning(suffix="drawing", dropout_epochs=2)}
    sampler = CaptionSampler(Captioning(prefix="ohwx"), 0, limited=True, own=own)
    assert sampler.sample(batch(0)) == (f"ohwx {TAGS}", f"{TAGS} drawing")
    assert sampler.sample(batch(1)) == (f"ohwx {TAGS}", "")
    assert sampler.all_variants([TAGS, TAGS]) == [f"ohwx {TAGS}", f"{TAGS} drawing", ""]
    part = sampler.sample(batch(0, indices=(1,), repeats=(0,)))
    assert part == (f"{TAGS} drawing",), "known by their place among all, whichever batch they are in"


def test_tags_come_one_after_the_other() -> None:
    """kohya's token warm-up: floor(step · (tags − least) / steps) + least."""
    captioning = Captioning(keep_tokens=1, shuffle=True, token_warmup_step=Warmup(10), token_warmup_min=2)
    tags = ["who", *(f"t{number}" for number in range(8))]
    counts = []
    for step in range(12):
        said = captioning.varied(", ".join(tags), random.Random(step), min(1.0, step / 10)).split(", ")
        assert said[0] == "who" and set(said[1:]) == set(tags[1 : len(said)]), "the first ones come first"
        counts.append(len(said) - 1)
    assert counts == [int(min(1, step / 10) * (8 - 2)) + 2 for step in range(12)]
