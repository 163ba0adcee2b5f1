"""CLIP's tokenizer over the world's words: each is one token, all other words are spelled.

Byte-pair encoding (Sennrich et al. 2016) at byte level, in the files and by the rules of CLIP's tokenizer: lower
case, `</w>` ends a word, <|startoftext|> and <|endoftext|> around it all, 77 tokens.
"""

import json
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer

from lorapipe.pocket.world import TAGS

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77
EXTRA_WORDS = frozenset(
    [
        "creature",
        "animal",
        "bird",
        "fish",
        "snake",
        "octopus",
        "person",
        "car",
        "truck",
        "bus",
        "boat",
        "rocket",
        "plane",
        "train",
        "pot",
        "cactus",
        "tree",
        "mushroom",
        "sign",
        "face",
        "cup",
        "lamp",
        "book",
        "ball",
        "house",
        "gift",
        "key",
        "robot",
        "cake",
        "bottle",
        "long",
        "neck",
        "line",
        "drawing",
        "outline",
        "thin",
        "black",
        "grey",
        "turquoise",
    ]
)
"""Words in captions of subjects outside the world."""


def words() -> list[str]:
    """Return the words that are one token each."""
    return sorted({word for tag in TAGS for word in tag.split()} | EXTRA_WORDS)


def byte_symbols() -> list[str]:
    """Return a printable character for each byte, by the mapping of GPT-2 and CLIP."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]


def merges() -> list[tuple[str, str]]:
    """Return merge rules, best first, that make each of `words` a single token.

    Each word is encoded with the rules so far, and rules that join the remaining pieces from the left are appended. Later
    rules rank below earlier ones, so they do not change earlier words.
    """
    rules: list[tuple[str, str]] = []
    for word in words():
        pieces = _apply(rules, [*word[:-1], word[-1] + "</w>"])
        while len(pieces) > 1:
            rules.append((pieces[0], pieces[1]))
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    return rules


def _apply(rules: list[tuple[str, str]], pieces: list[str]) -> list[str]:
    rank = {rule: place for place, rule in enumerate(rules)}
    while True:
        known = [pair for pair in pairwise(pieces) if pair in rank]
        if not known:
            return pieces
        first, second = min(known, key=rank.__getitem__)
        place = next(i for i, pair in enumerate(pairwise(pieces)) if pair == (first, second))
        pieces = [*pieces[:place], first + second, *pieces[place + 2 :]]


def write_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write the tokenizer's files into `folder`, and load it."""
    folder.mkdir(parents=True, exist_ok=True)
    rules, symbols = merges(), byte_symbols()
    pieces = [*symbols, *(symbol + "</w>" for symbol in symbols)]
    pieces += dict.fromkeys(first + second for first, second in rules)
    vocabulary = {piece: number for number, piece in enumerate([*pieces, START, END])}
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    config = special | {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, "do_lower_case": True}
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in rules), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8", newline="\n")
    for name, content in (("vocab", vocabulary), ("special_tokens_map", special), ("tokenizer_config", config)):
        text = json.dumps(content, indent=None if name == "vocab" else 2, ensure_ascii=False) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8", newline="\n")
    return CLIPTokenizer.from_pretrained(folder)
