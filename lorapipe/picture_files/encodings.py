"""Detects the encoding of captions.

Marks and UTF-8 speak for themselves. For other bytes, each code page that can read all of them is held against what people
write: how probable is each character in a text of that language? Files of one folder come from one program, so they are
looked at together, and a word too short to tell is told by its neighbours.

Names in zips, where every code page is met and no UTF-16, are read by `lorapipe.code_pages`, with the same letters.
"""

from __future__ import annotations

import locale
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import log

from lorapipe import common_characters
from lorapipe.picture_files.unicode_texts import CONTROL, WIDE

MOST = 60_000
"""Bytes that are enough to tell by."""


@dataclass(frozen=True)
class Language:
    """What a code page is for, and how often which characters are written in it, together all of the time."""

    name: str
    usual: tuple[tuple[frozenset[str], float], ...]


_CODE_PAGES: dict[str, Language] = {
    "cp949": Language("Korean", ((common_characters.HANGUL, 0.9),)),
    "cp932": Language("Japanese", ((common_characters.KANA, 0.55), (common_characters.KANJI, 0.4))),
    "gb18030": Language("Chinese", ((common_characters.HANZI, 0.92),)),
    "big5": Language("Chinese, traditional", ((common_characters.TRADITIONAL, 0.92),)),
    "cp1252": Language("Western European", ((common_characters.LATIN, 0.9),)),
    "cp1251": Language("Cyrillic", ((common_characters.CYRILLIC, 0.97),)),
}
_FURTHER: dict[str, Language] = {
    "cp1250": Language("Eastern European", ((common_characters.EASTERN, 0.95),)),
    "cp1253": Language("Greek", ((common_characters.GREEK, 0.97),)),
    "cp1254": Language("Turkish", ((common_characters.EASTERN | common_characters.LATIN, 0.9),)),
}
"""Those that are only tried where the computer is set to them."""
_RARE = log(1e-5)
_MISFIT = log(1e-7)
_MARK = log(0.02 / len(common_characters.MARKS))
_HOME = 2.0
"""How much rather it is the code page that the computer is set to, in natural units."""
_LIKE_OTHERS = 6.0
"""How much rather a file is in the encoding of the others of its folder."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ue000-\uf8ff\ufffd]")
_MIXED = re.compile(r"[A-Za-z](?=[Ѐ-ӿͰ-Ͽ])|[Ѐ-ӿͰ-Ͽ](?=[A-Za-z])|[a-z](?=[À-Þ])")
_LETTERS_AROUND = re.compile(r"(?<![^\W\d_])[À-ÿ]{2,}(?![^\W\d_])")


def encoding_of(texts: Sequence[bytes]) -> str:
    """The encoding of files that are not UTF-8 and have no mark; `cp1252` where none fits."""
    texts = list(dict.fromkeys(texts))
    sample = b"\n".join(texts)[:MOST]
    if any(b"\0" in text for text in texts):
        return max(WIDE, key=lambda encoding: sum(_wide_score(text, encoding) for text in texts[:200]))
    scores = {name: _score(sample, name, language) for name, language in _candidates().items()}
    for name in WIDE:  # without a zero: no space, no comma, no line's end
        if all(len(text) % 2 == 0 for text in texts):
            scores[name] = sum(_wide_score(text, name) for text in texts[:200])
    home = _home()
    if home in scores:
        scores[home] += _HOME
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] > float("-inf") else "cp1252"


def fits_better(data: bytes, encoding: str) -> bool:
    """Whether a file that could be UTF-8 is rather in the encoding of the others of its folder."""
    if data.isascii() and (encoding not in WIDE or len(data) < 4 or CONTROL.search(data.decode("ascii"))):
        return False  # nothing, or `me`
    try:
        other = data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return best_plausibility(other) + _LIKE_OTHERS > best_plausibility(data.decode("utf-8"))


def language_of(encoding: str) -> str:
    """What a code page is for, in words."""
    found = {**_CODE_PAGES, **_FURTHER}.get(encoding)
    return f"{found.name}, {encoding}" if found else encoding.upper().removesuffix("-LE").removesuffix("-BE")


def _candidates() -> Mapping[str, Language]:
    home = _home()
    return _CODE_PAGES if home not in _FURTHER else {**_CODE_PAGES, home: _FURTHER[home]}


@cache
def _home() -> str:
    """The code page of this computer's settings; empty where it is none of those that are known."""
    name = locale.getencoding().lower().replace("-", "").replace("_", "")
    also = {
        "euckr": "cp949",
        "shiftjis": "cp932",
        "sjis": "cp932",
        "gbk": "gb18030",
        "gb2312": "gb18030",
        "cp936": "gb18030",
    }
    also |= {"cp936": "gb18030", "cp950": "big5", "big5hkscs": "big5", "cp54936": "gb18030", "ms949": "cp949"}
    name = also.get(name, name)
    return name if name in _CODE_PAGES or name in _FURTHER else ""


def _score(data: bytes, encoding: str, language: Language) -> float:
    """How probable the bytes are as a text of that language, as a logarithm; minus infinity where they cannot be one."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if error.start < len(data) - 3 or len(data) < MOST:  # the sample may end within a character
            return float("-inf")
        text = data[: error.start].decode(encoding)
    return _plausibility(text, language)


def _wide_score(data: bytes, encoding: str) -> float:
    text = data[: len(data) // 2 * 2].decode(encoding, errors="replace")
    return best_plausibility(text)


def best_plausibility(text: str) -> float:
    """How probable a text is in the language that fits it best, as a logarithm."""
    return max(_plausibility(text, language) for language in _CODE_PAGES.values())


_ASCII = log(1 / 50)


def _plausibility(text: str, language: Language) -> float:
    known = _probabilities(language)
    total = 0.0
    for letter, times in Counter(text).items():
        if not letter.isascii():
            total += times * known.get(
                letter, _MARK if letter in common_characters.MARKS else _of_others(letter, language)
            )
        elif letter.isprintable() or letter in "\r\n\t":
            total += times * _ASCII
    odd = len(_CONTROL.findall(text)) + len(_MIXED.findall(text)) + len(_LETTERS_AROUND.findall(text))
    return total + odd * _MISFIT


@cache
def _probabilities(language: Language) -> dict[str, float]:
    found: dict[str, float] = {}
    for characters, share in language.usual:
        for letter in characters:
            found.setdefault(letter, log(share / len(characters)))
    return found


def _of_others(letter: str, language: Language) -> float:
    """A character that is none of the usual ones: a rare one of the language's own, or one that has no place in it."""
    own = {
        "Korean": "가" <= letter <= "힣",
        "Japanese": "一" <= letter <= "龥",
        "Chinese": "一" <= letter <= "龥",
        "Chinese, traditional": "一" <= letter <= "龥",
        "Western European": letter.isalpha(),
    }
    return _RARE if own.get(language.name, False) else _MISFIT
