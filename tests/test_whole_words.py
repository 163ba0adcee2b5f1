"""Whole-word search in captions of any language."""

from __future__ import annotations

import unicodedata

import pytest

from lorapipe.whole_words import has_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ann, smiling", "ann"),
        ("a photo of Ann.", "ann"),
        ("portrait of ann's cat", "ann"),
        ("(ann:1.2), hat", "ann"),
        ("{ann|bob} walks", "ann"),
        ("ann", "ann"),
        ("a photo of  my\ncat", "my cat"),
        ("Größe, weiß", "größe"),
        (unicodedata.normalize("NFD", "zoë walks"), "Zoë"),
        ("Маша идёт", "маша"),
        ("페니가 웃는다", "페니"),
        ("페니의 사진, 바다", "페니"),
        ("한복 소녀, 봄", "한복 소녀"),
        ("着物を着た女", "着物"),
        ("赤い着物姿の女", "着物"),
        ("ルナの写真", "ルナ"),
        ("lunaの写真", "luna"),
        ("luna가 웃는다", "luna"),
        ("一个汉服少女站着", "汉服少女"),
        ("1girl, 桜, hat", "桜"),
        ("รูปของนิดา", "นิดา"),
        ("penny - a girl", "penny"),
        ("🎉 party", "🎉"),
        ("<sks> dog", "sks"),
        ("anything", ""),
    ],
)
def test_words_are_found(text: str, words: str) -> None:
    assert has_words(text, words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("planning the night", "ann"),
        ("hannah, cannes", "ann"),
        ("ann_smith, hat", "ann"),
        ("ann-marie", "ann"),
        ("lunar light", "luna"),
        ("luna2", "luna"),
        ("catalogue of my things", "my cat"),
        ("my hat, cat", "my cat"),
        ("Машачок", "маша"),
        ("페니실린 병", "페니"),
        ("스페니", "페니"),
        ("花火大会", "花"),
        ("ルナール", "ルナ"),
        ("", "ann"),
        ("अनार", "अन"),
    ],
)
def test_parts_of_other_words_are_not(text: str, words: str) -> None:
    assert not has_words(text, words)
