"""Publish a training: link its files from `context.resume`, which outlives a killed attempt, into `context.out`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.atomic import PART_SUFFIX, write_text
from lorapipe.checksum import is_whole_png
from lorapipe.pipeline.events import METRICS, Log
from lorapipe.training import metrics_log

if TYPE_CHECKING:
    from lorapipe.pipeline.context import Context

PUBLISHED = ("snapshots", "previews", "tensorboard", METRICS)
"""Files and folders of a training that are published."""


def publish_training(context: Context, snapshots: Collection[Path]) -> None:
    """Publish all files of a training. Damaged previews are left out with a warning.

    Of the snapshots only `snapshots`: the last of a shorter training, which this one goes on from, is none of its own.
    """
    for picture in sorted((context.resume / "previews").glob("*.png")):
        if not is_whole_png(picture):
            context.emit(Log(text=f"the preview {picture.name} is damaged and was left out", level="warning"))
            picture.unlink()
    write_text(metrics_log.table(metrics_log.read(context.resume / METRICS)), context.out / "metrics.csv")
    for name in PUBLISHED:
        if (context.resume / name).exists():
            link_or_copy(context.resume / name, context.out / name)
    for made in (context.out / "snapshots").glob("*"):
        if made not in snapshots:
            made.unlink()


def link_or_copy(source: Path, target: Path) -> None:
    """Make a file or folder appear at `target` too, by hard links where the file system has them, else by copies.

    Partial files of a killed process are left out.
    """
    if source.is_dir():
        for inner in sorted(source.iterdir()):
            if inner.suffix != PART_SUFFIX:
                link_or_copy(inner, target / inner.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
