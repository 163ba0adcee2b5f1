"""Warnings from captions before a training: a trigger that no caption has, and tags that nearly all captions share."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lorapipe.cli import main
from lorapipe.training.data.caption_audit import audit

PIPELINE = """\
stages:
  dataset: {uses: prepare, images: photos, base: {family: sd15, checkpoint: pocket}}
  lora: {uses: train, dataset: $dataset, CAPTIONS}
  grid: {uses: evaluate, weights: $lora, prompts: [PROMPTS]}
"""


@pytest.mark.parametrize(
    ("prompts", "captions", "missing"),
    [
        ('"luna", "luna, beach"', "", "luna"),
        ('"luna", "luna, beach"', "captions: {trigger: luna}", ""),
        ('"luna", "luna, beach"', 'captions: {prefix: "luna,"}', ""),
        ('"a red hat", "a red hat, beach"', "", ""),  # two captions of three say it
        ('"a luna, beach", "luna, snow"', "", ""),  # not one tag is in both
        ('"luna"', "", ""),
    ],
)
def test_check_finds_a_trigger_that_no_caption_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], prompts: str, captions: str, missing: str
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, text in enumerate(("a red hat, beach", "a red hat", "lunatic")):
        Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    text = PIPELINE.replace("PROMPTS", prompts).replace(", CAPTIONS", f", {captions}" if captions else "")
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    assert main(["check", str(tmp_path / "p.yaml")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert ("none of the 3 captions in photos does" in told) == bool(missing)
    assert (f"captions: {{trigger: {missing}}}" in told) == bool(missing)


def test_what_nearly_all_captions_share_is_named_with_its_count() -> None:
    captions = [f"luna, blue coat, {'hat, scarf' if number % 3 else 'snow'}, {number}" for number in range(10)]
    captions[0] = "luna, snow"
    lines = [*audit(captions)]
    assert any("luna (10 of 10), blue coat (9 of 10)" in line for line in lines)
    assert any("hat with scarf" in line for line in lines)
    assert any("in one caption only" in line and "snow" not in line for line in lines)


def test_captions_without_a_word_in_common_have_no_trigger() -> None:
    lines = [*audit([f"tag {number % 4}" for number in range(12)])]
    assert len(lines) == 1 and "no tag is in nearly all captions" in lines[0]


def test_nothing_is_said_of_good_captions_but_their_trigger_or_of_a_handful() -> None:
    good = [f"luna, {('beach', 'snow', 'room')[number % 3]}, {('hat', 'bow')[number % 2]}" for number in range(12)]
    assert [line.split(":")[0] for line in audit(good)] == ["in nearly all captions"]
    assert not [*audit(good[:5])] and not [*audit([""] * 20)]
