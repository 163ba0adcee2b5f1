"""Paths of a configuration, which were written for another folder, and maybe for another computer."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lorapipe.pipeline.variables import literal
from lorapipe.spec.paths import from_folder

DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
HUB = re.compile(r"[\w.-]+/[\w.-]+")


def found(text: str, folder: Path) -> Path | None:
    """Return the path that exists: as written, from the configuration's folder, or from the present one."""
    plain = text.strip().strip("\"'")
    spelled = plain.replace("\\", "/") if os.sep == "/" else plain
    for each in (plain, spelled):
        for start in (folder, Path.cwd()):
            try:
                path = start / Path(each).expanduser()
                if each and path.exists():
                    return path.absolute()
            except (OSError, RuntimeError, ValueError):
                continue
    return None


def located(text: str, folder: Path, target: Path) -> tuple[str, str]:
    """Return a path for the pipeline in `target`, and a remark where it does not exist here."""
    if (path := found(text, folder)) is not None:
        return literal(from_folder(path, target)), ""
    plain = literal(text.strip().strip("\"'").replace("\\", "/"))
    if DRIVE.match(text) and os.sep == "/":
        return plain, "; a path of Windows: write where it is here"
    if HUB.fullmatch(plain) and not plain.startswith("."):
        return plain, "; not here: if it is a name on Hugging Face's hub, download it, and write where it is"
    return plain, "; not here: write where it is"
