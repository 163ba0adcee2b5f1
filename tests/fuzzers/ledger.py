"""Damage anywhere in `.lorapipe`: every command ends with a message, and the next run gives right results."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from lorapipe import api, registry
from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.pipeline import loader

CASES = 30
TOYS = Path(__file__).parents[1] / "toys"
PIPELINE = """\
stages:
  text: {uses: words, folder: texts}
  tally: {uses: count, text: $text, word: a}
  kept: {uses: keep, tally: $tally, to: result.html}
"""
COMMANDS = (["plan", "cat.yaml"], ["runs"], ["runs", "1"], ["why", "tally"], ["log", "tally"], ["gc", "0", "--yes"])
Damage = Callable[[Path, random.Random], object]


def case(seed: int, folder: Path) -> str:
    """Run a project twice, damage it up to three times, run every command in some order, and run it again."""
    chance = random.Random(seed)
    with _toys(), contextlib.chdir(folder), _quiet():
        _project(folder)
        damaged = [_damage(folder / ".lorapipe", chance) for _ in range(chance.randint(1, 3))]
        for words in [*chance.sample(COMMANDS, 3), None, *chance.sample(COMMANDS, 3)]:
            try:
                if words is None:
                    api.run(loader.load("cat.yaml"), on="inline")
                elif main(list(words)) not in (0, 1, 2):
                    return f"{words} after {damaged}: an odd exit status"
            except InputError as error:
                is_unknown = "overwrite: true" in str(error) and any("delivered.jsonl" in each for each in damaged)
                if (
                    "is not a folder" not in str(error) and not is_unknown
                ):  # the message says what to move away, or what else to do
                    return f"{words or 'run'} after {damaged}: {error}"
                return ""
            except Exception:
                return f"{words or 'run'} after {damaged}:\n{traceback.format_exc()}"
        if (folder / "result.html").read_text() != "<p>3</p>":
            return f"after {damaged}: another result"
    return ""


@contextlib.contextmanager
def _toys() -> Iterator[None]:
    """Install the small stages within the block."""
    sys.path.insert(0, str(TOYS))
    registry._entry_points.cache_clear()
    try:
        yield
    finally:
        sys.path.remove(str(TOYS))
        registry._entry_points.cache_clear()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logging.getLogger("lorapipe").setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.getLogger("lorapipe").setLevel(logging.NOTSET)


def _project(folder: Path) -> None:
    (folder / "texts").mkdir()
    (folder / "texts" / "one.txt").write_text("a b a c a")
    (folder / "cat.yaml").write_text(PIPELINE)
    for sets in (["tally.word=b"], []):
        api.run(loader.load("cat.yaml", sets), on="inline")


def _damage(root: Path, chance: random.Random) -> str:
    """Damage something in the folder; return what, and how."""
    path = chance.choice(sorted(root.rglob("*")))
    names = list(TO_FILES if path.is_file() and not path.is_symlink() else {}) + list(TO_ANY)
    name = chance.choice(names)
    with contextlib.suppress(OSError):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o600)
        (TO_FILES | TO_ANY)[name](path, chance)
    return f"{path.relative_to(root)}: {name}"


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes() or b"\0")
    for _ in range(chance.choice([1, 20, 400])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def _noise(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.seek(chance.randrange(path.stat().st_size + 1) // 512 * 512)
        file.write(chance.randbytes(chance.choice([512, 4096])))


def _instead(make: Callable[[Path], object]) -> Damage:
    def damage(path: Path, chance: random.Random) -> None:
        _remove(path)
        make(path)

    return damage


TO_FILES: dict[str, Damage] = {
    "bits": _flip,
    "noise": _noise,
    "cut": lambda path, chance: os.truncate(path, chance.randrange(path.stat().st_size + 1)),
    "longer": lambda path, chance: path.write_bytes(path.read_bytes() + chance.randbytes(99)),
    "text": lambda path, chance: path.write_text("this is something else\n" * chance.randrange(200)),
    "brackets": lambda path, chance: path.write_bytes(b"[" * 100_000),
    "another's": lambda path, chance: shutil.copyfile(
        chance.choice([each for each in sorted(path.parents[1].rglob("*")) if each.is_file()]), path
    ),
}
TO_ANY: dict[str, Damage] = {
    "deleted": lambda path, chance: _remove(path),
    "renamed": lambda path, chance: path.rename(path.with_name(chance.choice(["²", "0", "x.json", "9" * 19]))),
    "a folder": _instead(Path.mkdir),
    "a file": _instead(Path.touch),
    "a link that leads nowhere": _instead(lambda path: path.symlink_to("nowhere")),
    "a link to itself": _instead(lambda path: path.symlink_to(path.name)),
}
if hasattr(os, "mkfifo"):
    TO_ANY["a pipe"] = _instead(os.mkfifo)
