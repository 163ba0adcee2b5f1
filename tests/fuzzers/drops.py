"""Dropped folders whose `lorapipe.yaml` has odd values of existing settings: accepted, or refused with a message."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from corpus.drops import photographs

from lorapipe.errors import InputError
from lorapipe.watch.pipeline_writer import DroppedFolder, InboxPipeline, write
from lorapipe.watch.settings import WatchSettings

CASES = 60
STAGES = ("dataset", "lora", "grid", "file", "class", "more")
VARIABLES = (
    "trigger", "prefix", "lacked", "steps", "checkpoint", "family", "images", "name", "folder", "class_word",
    "repeats",
)  # fmt: skip
KNOBS = (
    "uses", "images", "masks", "base", "exclude", "captions", "caption_extensions", "resolution", "repeats",
    "class_word", "dataset", "regularisation", "adapter", "optimizer", "steps", "snapshots", "batch", "start_from",
    "preview_prompts", "previews", "weights", "prompts", "strengths", "clip", "to", "trigger", "matrix", "when",
    "retries", "timeout", "family", "checkpoint", "vae", "rank", "type", "accumulation", "more_datasets",
    "scheduler",
)  # fmt: skip
WORDS = (
    "penny", "${images}", "${name}", "${nothing}", "${", "$dataset", "$lora", "$grid.best", "$nothing", "pocket",
    "sd15", "sdxl", "~", "~nobody/x", "..", "/", "/dev/zero", "../../private", "0.png", "1e400", "prepare",
    "train", "evaluate", "export", ".txt", "{a|b}", "(a:1.2)", "한복", "", "10 epochs", "every 1 steps", "\0",
    "\ud800", "x" * 300, "true and not", "8 h",
)  # fmt: skip
NUMBERS = (0, -1, 1, 3, 10**9, 10**30, 1.5, float("inf"), float("nan"), True, False, None)


def case(seed: int, folder: Path) -> str:
    """Run one case; see README.md."""
    chance = random.Random(f"drops {seed}")
    images = photographs(folder / "in" / chance.choice(("penny", "10_penny girl", "9999_a", "${name}", "reg")))
    if chance.random() < 0.3:
        photographs(images / "reg")
    (folder / "private").mkdir()
    (folder / "private" / "SECRET").touch()
    text = "\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in _document(chance).items())
    (images / "lorapipe.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    dropped = DroppedFolder(images, images.name, folder / "out", "penny")
    sets = chance.choice(((), ("lora.batch=2",), ("vars.steps=50",)))
    try:
        write(InboxPipeline(None, sets, WatchSettings(least=1)), dropped)
    except InputError as error:
        if "SECRET" in str(error):
            return f"told of what lies beside: {error}"
    before = {folder / "in", folder / "private", folder / "out"}
    beside = [each for each in folder.iterdir() if each not in before]
    return f"wrote {beside}" if beside else ""


def _document(chance: random.Random) -> dict[str, Any]:
    if chance.random() < 0.1:
        return {chance.choice(("vars", "stages", "extends", "penny")): _value(chance, 0)}
    stages = {chance.choice(STAGES): _settings(chance, 0) for _ in range(chance.randint(0, 2))}
    variables = {chance.choice(VARIABLES): _value(chance, 2) for _ in range(chance.randint(0, 2))}
    return {name: value for name, value in (("vars", variables), ("stages", stages)) if value} or {"vars": {}}


def _settings(chance: random.Random, depth: int) -> Any:
    return {chance.choice(KNOBS): _value(chance, depth + 1) for _ in range(chance.randint(1, 2))}


def _value(chance: random.Random, depth: int) -> Any:
    kind = chance.random()
    if depth < 3 and kind < 0.25:
        return _settings(chance, depth)
    if depth < 4 and kind < 0.4:
        return [_value(chance, depth + 1) for _ in range(chance.randint(0, 3))]
    return chance.choice(NUMBERS) if kind < 0.6 else chance.choice(WORDS)
