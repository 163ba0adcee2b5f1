"""Detects the text encoding of captions.

Byte order marks and UTF-8 are unambiguous. For other bytes, every code page that can decode all of them is scored by the
probability of the characters in a text of its language. Files of one folder come from one program, so they are scored
together, which also decides texts that are too short on their own.

`lorapipe.code_pages` decodes names in zips, which use every code page but not UTF-16, with the same letter frequencies.
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
"""Bytes of a sample: enough to decide by."""


@dataclass(frozen=True)
class Language:
    """Languages of a code page, and the frequencies of its characters, which sum to 1."""

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
"""Code pages that are only tried where they are the computer's own."""
_RARE = log(1e-5)
_MISFIT = log(1e-7)
_MARK = log(0.02 / len(common_characters.MARKS))
_HOME = 2.0
"""Log-likelihood bonus, in nats, of the computer's own code page."""
_LIKE_OTHERS = 6.0
"""Log-likelihood bonus, in nats, of the encoding of the folder's other files."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ue000-\uf8ff\ufffd]")
_MIXED = re.compile(r"[A-Za-z](?=[Ѐ-ӿͰ-Ͽ])|[Ѐ-ӿͰ-Ͽ](?=[A-Za-z])|[a-z](?=[À-Þ])")
_LETTERS_AROUND = re.compile(r"(?<![^\W\d_])[À-ÿ]{2,}(?![^\W\d_])")


def encoding_of(texts: Sequence[bytes]) -> str:
    """Detect the common encoding of files that are not UTF-8 and have no mark; `cp1252` where none fits."""
    texts = list(dict.fromkeys(texts))
    sample = b"\n".join(texts)[:MOST]
    if any(b"\0" in text for text in texts):
        return max(WIDE, key=lambda encoding: sum(_wide_score(text, encoding) for text in texts[:200]))
    scores = {name: _score(sample, name, language) for name, language in _candidates().items()}
    for name in WIDE:  # without a zero byte there is no space, comma or line end
        if all(len(text) % 2 == 0 for text in texts):
            scores[name] = sum(_wide_score(text, name) for text in texts[:200])
    home = _home()
    if home in scores:
        scores[home] += _HOME
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] > float("-inf") else "cp1252"


def fits_better(data: bytes, encoding: str) -> bool:
    """Return whether a file that is valid UTF-8 is more probably in the encoding of the folder's other files."""
    if data.isascii() and (encoding not in WIDE or len(data) < 4 or CONTROL.search(data.decode("ascii"))):
        return False  # nothing, or `me`
    try:
        other = data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return best_plausibility(other) + _LIKE_OTHERS > best_plausibility(data.decode("utf-8"))


def language_of(encoding: str) -> str:
    """Return the languages of a code page, in words."""
    found = {**_CODE_PAGES, **_FURTHER}.get(encoding)
    return f"{found.name}, {encoding}" if found else encoding.upper().removesuffix("-LE").removesuffix("-BE")


def _candidates() -> Mapping[str, Language]:
    home = _home()
    return _CODE_PAGES if home not in _FURTHER else {**_CODE_PAGES, home: _FURTHER[home]}


@cache
def _home() -> str:
    """Return the code page of this computer's locale; empty where it is unknown here."""
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
    """Return the log-likelihood of the bytes as a text of that language; minus infinity where they cannot be decoded."""
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
    """Return the log-likelihood of a text in the language that fits it best."""
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
    """Return the log-probability of a character outside the table: rare in the language, or foreign to it."""
    own = {
        "Korean": "가" <= letter <= "힣",
        "Japanese": "一" <= letter <= "龥",
        "Chinese": "一" <= letter <= "龥",
        "Chinese, traditional": "一" <= letter <= "龥",
        "Western European": letter.isalpha(),
    }
    return _RARE if own.get(language.name, False) else _MISFIT
