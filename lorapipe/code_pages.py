"""Guess the code page of file names or short texts, from all of them together.

Each code page gets a likelihood from the decoded letters: letters that are frequent in its language raise it; rare letters,
symbols, capitals in the middle of a word and mixed alphabets lower it. The code page of this system gets a bonus, since
files mostly come from people with the same language.

This module is for names, which are short and in any code page, DOS' included; for captions, which are longer and may be
UTF-16, see `lorapipe.picture_files.encodings`. Both use the East Asian characters in `lorapipe.common_characters`.
"""

from __future__ import annotations

import locale
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from lorapipe import common_characters

PAGES = {
    "cp949": "Korean",
    "cp932": "Japanese",
    "gb18030": "simplified Chinese",
    "cp950": "traditional Chinese",
    "cp866": "Cyrillic",
    "cp1251": "Cyrillic",
    "koi8_r": "Cyrillic",
    "cp850": "Western European",
    "cp1252": "Western European",
    "cp437": "Western European",
    "cp852": "Central European",
    "cp1250": "Central European",
    "cp857": "Turkish",
    "cp1254": "Turkish",
    "cp737": "Greek",
    "cp1253": "Greek",
    "cp862": "Hebrew",
    "cp1255": "Hebrew",
    "cp1256": "Arabic",
    "cp874": "Thai",
}
"""Code page → language. Among equally likely ones the first is used."""
OF_LANGUAGES = {
    "ko": ("cp949",), "ja": ("cp932",), "zh_tw": ("cp950",), "zh_hk": ("cp950",), "zh": ("gb18030",),
    "ru": ("cp866", "cp1251"), "uk": ("cp866", "cp1251"), "be": ("cp866", "cp1251"), "bg": ("cp866", "cp1251"),
    "pl": ("cp852", "cp1250"), "cs": ("cp852", "cp1250"), "sk": ("cp852", "cp1250"), "hu": ("cp852", "cp1250"),
    "ro": ("cp852", "cp1250"), "hr": ("cp852", "cp1250"), "sl": ("cp852", "cp1250"), "tr": ("cp857", "cp1254"),
    "el": ("cp737", "cp1253"), "he": ("cp862", "cp1255"), "ar": ("cp1256",), "th": ("cp874",),
}  # fmt: skip
WEIGHT_OF_LOCAL = 0.15
LESS_USUAL = 0.2
"""Penalty for code pages of less common languages, which decode the same bytes to letters as the more common ones."""
UTF8_BONUS = 0.3
"""Bonus of UTF-8, which most programs write today."""
LEAST = 0.25
"""Least mean likelihood per letter; below it, no code page is accepted."""
ENOUGH = 20_000
"""Most bytes that are examined; more do not change the result."""

OF_NAMES = frozenset(
    "鳳蘭張陳劉楊趙吳孫許鄭謝韓馮語腦華業歡歲義選擇網錢鐵覺訓練識請讀護島嶼廣應徑熱爾類組織統維羅陰隊際難靈靜頁順須預頻臺灣夾"
    "獅藝攝參資檔顏願飯館齊齡夠奧婦媽孃寧寶專導層屬幹庫廠強彈彌"
)
"""Traditional characters that are frequent in names but rare in captions."""
HANZI = common_characters.HANZI | common_characters.TRADITIONAL | OF_NAMES
LATIN = frozenset("äöüßéèêàâçñåøæáíóúîôûëïãÄÖÜÉÅØÆÇÑÁÍÓÚœ")
CENTRAL = frozenset("ąćęłńśźżčěřšťůýžďňőűășțđľĺŕŁŚŻŹĆŠČŘŽŮŇĎŤĐŐŰ") | LATIN
TURKISH = frozenset("ığşİĞŞ") | LATIN
EAST_ASIAN = ("Korean", "Japanese", "simplified Chinese", "traditional Chinese")
USUAL = (*EAST_ASIAN, "Cyrillic", "Western European")
LETTERS = {"Central European": CENTRAL, "Turkish": TURKISH}
ALPHABETS = (
    ("Cyrillic", re.compile("[\u0401\u0410-\u044f\u0451]"), frozenset("оеаинтсрвлкмдпуяь")),
    ("Greek", re.compile("[\u0386-\u03ce]"), frozenset("αοιετσνρκπμλςάίόέήυ")),
    ("Hebrew", re.compile("[\u05d0-\u05ea]"), frozenset("יוהלאמרתבשנד")),
    ("Arabic", re.compile("[\u0621-\u0652]"), frozenset("اليمنرتبوسدةهعفق")),
    ("Thai", re.compile("[\u0e01-\u0e3a\u0e40-\u0e4e]"), frozenset("านรกอเงวมยลทสดตหญ่้ีัิ์ู")),
)
"""Alphabet, a pattern of its letters, and its most frequent letters."""


@dataclass(frozen=True)
class Guess:
    """The encoding of names. `words` is a message about it for the user; empty for UTF-8."""

    encoding: str
    words: str = ""

    def decode(self, data: bytes) -> str:
        """Decode bytes; invalid ones are replaced."""
        return data.decode(self.encoding, "replace")


def guess(names: Sequence[bytes], local: Sequence[str] | None = None) -> Guess:
    """Guess the encoding of the names or texts of one author. `local` are the code pages of this system."""
    sample = [*_sample(names)]
    if not sample:
        return Guess("utf-8")
    local = local_pages() if local is None else local
    likelihoods = {page: _likelihood(sample, page, local) for page in PAGES}
    if _of_utf8(sample) >= max(likelihoods.values()):
        return Guess("utf-8")
    page = max(likelihoods, key=likelihoods.__getitem__)
    if likelihoods[page] < LEAST:
        return Guess("cp437", "its names are in an unknown code page; pack it with UTF-8 names, or rename them")
    return Guess(page, f"its names were read as {PAGES[page]} ({page})")


@cache
def local_pages() -> tuple[str, ...]:
    """Return the code pages of this system's language."""
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.windll.kernel32
        return f"cp{kernel.GetOEMCP()}".replace("cp936", "gb18030"), f"cp{kernel.GetACP()}".replace("cp936", "gb18030")
    named = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), None)
    language = (named or locale.getlocale()[0] or "").lower()
    short = language[:5], language[:2]
    return next((OF_LANGUAGES[each] for each in short if each in OF_LANGUAGES), ("cp850", "cp1252"))


def _sample(names: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the parts of paths that are not ASCII, each once: a folder's name occurs with each of its files."""
    parts = dict.fromkeys(part for name in names if not name.isascii() for part in name.split(b"/"))
    left = ENOUGH
    for part in parts:
        if not part.isascii() and left > 0:
            left -= len(part)
            yield part[:ENOUGH]


def _of_utf8(sample: Sequence[bytes]) -> float:
    """Return the likelihood of UTF-8; 9 (certain) if there are three-byte letters, which do not occur by chance."""
    try:
        texts = [data.decode("utf-8") for data in sample]
    except UnicodeDecodeError:
        return -9.0
    if any(letter >= "\u0800" for text in texts for letter in text):
        return 9.0
    return UTF8_BONUS + max(_mean(texts, language) for language in PAGES.values())


def _likelihood(sample: Sequence[bytes], page: str, local: Sequence[str]) -> float:
    """Return a code page's mean likelihood per non-ASCII letter, about -1 to 1; -9 if the texts cannot be decoded."""
    try:
        texts = [data.decode(page) for data in sample]
    except UnicodeDecodeError:
        return -9.0
    usual = PAGES[page] in USUAL or page in local
    return _mean(texts, PAGES[page]) + WEIGHT_OF_LOCAL * (page in local) - LESS_USUAL * (not usual)


def _mean(texts: Iterable[str], language: str) -> float:
    weights = [weight for text in texts for weight in _weights(text, language)]
    return sum(weights) / max(1, len(weights))


def _weights(text: str, language: str) -> Iterator[float]:
    """Yield the likelihood of a language for each non-ASCII letter in its context."""
    for before, letter, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        if letter.isascii():
            if letter == "\\" and not before.isascii():
                yield -0.5  # more likely the second half of a letter
            continue
        if letter in "\ufffd" or not letter.isprintable() or 0xE000 <= ord(letter) <= 0xF8FF:
            yield -1.0
        elif language in EAST_ASIAN:
            joined = any(each.isascii() and each.isalpha() for each in (before, after))
            yield _of_east_asia(letter, language) - 0.3 * joined
        else:
            yield _of_an_alphabet(before, letter, after, language)


def _of_east_asia(letter: str, language: str) -> float:
    if "\u3000" <= letter <= "\u301f" or "\uff01" <= letter <= "\uff5e" or letter in "·…「」『』":
        return 0.3
    if language == "Korean":
        return _korean(letter)
    return _japanese(letter) if language == "Japanese" else _chinese(letter, language)


def _korean(letter: str) -> float:
    if not "\uac00" <= letter <= "\ud7a3":
        return -0.5
    return 1.0 if letter in common_characters.HANGUL else 0.5 if _is_of(letter, "euc_kr") else -0.7


def _japanese(letter: str) -> float:
    if "\u3041" <= letter <= "\u30fe":
        return 1.0
    if not "\u4e00" <= letter <= "\u9fff":
        return 0.5 if letter == "々" else -0.7
    return 1.0 if letter in common_characters.KANJI else 0.4 if letter.encode("cp932")[0] < 0x98 else -0.3


def _chinese(letter: str, language: str) -> float:
    if not "\u4e00" <= letter <= "\u9fff":
        return -0.7
    if letter in HANZI:
        return 1.0
    page, last = ("gb2312", 0xD7) if language.startswith("simplified") else ("big5", 0xC6)
    return 0.4 if _is_of(letter, page) and letter.encode(page)[0] <= last else -0.4


def _is_of(letter: str, page: str) -> bool:
    try:
        letter.encode(page)
    except UnicodeEncodeError:
        return False
    return True


def _of_an_alphabet(before: str, letter: str, after: str, language: str) -> float:
    shouted = letter.isupper() and before.islower()
    for alphabet, pattern, common in ALPHABETS:
        if pattern.match(letter):
            if alphabet != language:
                return -0.7
            mixed = any(each.isascii() and each.isalpha() for each in (before, after))
            all_capitals = letter.isupper() and before.isupper()
            return (1.0 if letter.lower() in common else 0.5) - 1.5 * mixed - 1.5 * shouted - 0.08 * all_capitals
    if language in (name for name, _, _ in ALPHABETS) or not letter.isalpha():
        return -0.7
    return _latin(before, letter, after, language) - 1.2 * shouted


def _latin(before: str, letter: str, after: str, language: str) -> float:
    wanted = LETTERS.get(language, LATIN)
    neighbours = sum(each.isalpha() and not each.isascii() for each in (before, after))
    alone = not any(each.isalpha() for each in (before, after))
    return (0.9 if letter in wanted else 0.1) - 0.35 * neighbours - 0.3 * alone
