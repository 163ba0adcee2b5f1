"""The presets: pipelines that come with lorapipe, which `extends: lorapipe:NAME` builds on.

A preset is a file in `lorapipe/presets/`; its first comment says what it is for. Relative paths in it start at the pipeline
that extends it, not at the preset.
"""

from __future__ import annotations

from pathlib import Path

from lorapipe.errors import InputError, near_miss

FOLDER = Path(__file__).parents[1] / "presets"
PREFIX = "lorapipe:"


def names() -> list[str]:
    """Return the names of all presets, sorted."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def path_of(name: str) -> Path:
    """Return the file of a preset. `InputError`, with a similar name, if there is none."""
    if name not in names():
        raise InputError(f"there is no preset {name!r}.", cure=near_miss(name, names()))
    return FOLDER / f"{name}.yaml"


def text_of(name: str) -> str:
    """Return the text of a preset's file. `InputError` if there is none."""
    return path_of(name).read_text("utf-8")


def purpose_of(name: str) -> str:
    """Return what a preset is for: the first sentence of its first comment."""
    comment = []
    for line in text_of(name).splitlines():
        if not line.startswith("# "):
            break
        comment.append(line.removeprefix("# "))
    return f"{' '.join(comment).partition(': ')[0].partition('. ')[0].rstrip('.')}."
