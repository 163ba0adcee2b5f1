"""Whole-word search in captions, in any script.

`ann` is not in `planning`, `penny` not in `penny_cat` or `penny-farthing`, which are other names. In scripts without spaces,
a change of script ends a word (`lunaの写真` has `luna`), Chinese and Japanese words may be part of longer runs (`着物姿の女`
has `着物`), and a Korean word may be followed by a particle (`페니가` has `페니`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from unicodedata import category, normalize

SCRIPTS = (
    ("han", re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")),
    ("hiragana", re.compile("[\u3041-\u309f]")),
    ("katakana", re.compile("[\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9f]")),
    ("hangul", re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")),
    ("unspaced", re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")),  # Thai, Lao, Burmese, Khmer
)
PARTICLES = re.compile(
    "(이|가|은|는|을|를|의|에|와|과|도|로|만|야|아|랑|이랑|으로|에서|에게|에게서|한테|께|께서|처럼|같은|보다|까지|부터|마저|조차|"
    "하고|이나|나|이라는|라는|이란|란|이며|며|이고|고|들|들이|들은|들을|들의|님|씨|양|군|이다|다|입니다)(?![\\w])"
)


def has_words(text: str, words: str) -> bool:
    """Whether `words` are in `text`, ignoring case and the width of spaces; empty `words` are in every text."""
    wanted, read = _plain(words), _plain(text)
    return not wanted or any(_is_whole(read, start, start + len(wanted)) for start in _places(read, wanted))


def _plain(text: str) -> str:
    return " ".join(normalize("NFC", text).casefold().split())


def _places(text: str, wanted: str) -> Iterator[int]:
    start = text.find(wanted)
    while start >= 0:
        yield start
        start = text.find(wanted, start + 1)


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether a part of a text begins and ends at word boundaries."""
    single = end - start == 1
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    begins = _is_end(text[start], before[::-1], single)
    ends = _is_end(text[end - 1], after, single)
    if not ends and _script(text[end - 1]) == "hangul":
        ends = PARTICLES.match(text, end) is not None
    return begins and ends


def _is_end(letter: str, outside: str, single: bool) -> bool:
    """Whether a word ends at a letter if `outside` follows it, read outwards."""
    if not outside or not _is_of_words(letter):
        return True
    if outside[0] == "-":  # penny-farthing; but not: penny - a girl
        return len(outside) < 2 or not _is_of_words(outside[1])
    if not _is_of_words(outside[0]):
        return True
    if outside[0] == "_":
        return False
    inner, outer = _script(letter), _script(outside[0])
    if inner != outer:
        return True
    return inner == "unspaced" or (inner in ("han", "hiragana") and not single)


def _is_of_words(letter: str) -> bool:
    return letter == "_" or letter.isalnum() or category(letter)[0] == "M"


def _script(letter: str) -> str:
    """Return the script of a letter; empty for scripts with spaces between words."""
    return next((name for name, pattern in SCRIPTS if pattern.match(letter)), "")
