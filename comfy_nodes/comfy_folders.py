"""ComfyUI's folders of models, pictures and results, and the publication of LoRA files for its loaders.

It uses only `folder_paths` of ComfyUI, imported inside functions.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Set
from functools import partial
from pathlib import Path

from lorapipe.atomic import replacing

from .paths import GraphPaths

CHECKPOINTS, LORAS = "checkpoints", "loras"
PICTURE_FOLDERS, PROJECT_FOLDER = "lorapipe_pictures", "lorapipe_project"
"""Keys in ComfyUI's extra_model_paths.yaml: further picture folders, and the project folder."""


def comfy_paths() -> GraphPaths:
    """Return ComfyUI's folders, and those that its user has named for lorapipe."""
    import folder_paths

    named = folder_paths.folder_names_and_paths
    own = [Path(path) for path in named.get(PICTURE_FOLDERS, ((), ()))[0]]
    output, given = Path(folder_paths.get_output_directory()), Path(folder_paths.get_input_directory())
    project = Path(next(iter(named.get(PROJECT_FOLDER, ((), ()))[0]), output / "lorapipe"))
    kinds = [kind for kind in named if kind not in ("custom_nodes", "configs", PICTURE_FOLDERS, PROJECT_FOLDER)]
    models = [Path(path) for kind in kinds for path in named[kind][0]]
    return GraphPaths(
        project=project,
        input=given,
        output=output,
        pictures=tuple(own),
        readable=(given, output, project, *own, *models),
        writable=(project, output, *map(Path, named["loras"][0])),
        models={kind: partial(_models, kind) for kind in kinds},
        model=_model,
        homes={kind: Path(named[kind][0][0]) for kind in kinds if named[kind][0]},
    )


def _models(kind: str) -> list[str]:
    """List ComfyUI's models of a kind; checkpoints include diffusers folders."""
    import folder_paths

    files = list(folder_paths.get_filename_list(kind))
    return [*files, *_diffusers()] if kind == CHECKPOINTS else files


def _model(kind: str, name: str) -> str | None:
    """Return the path of a model in that list; None if it is not there."""
    import folder_paths

    found = folder_paths.get_full_path(kind, name)
    return str(found) if found else _diffusers().get(name) if kind == CHECKPOINTS else None


def _diffusers() -> dict[str, str]:
    """Return the diffusers folders (those with a `vae`) below ComfyUI's folder for them: relative name → path."""
    import folder_paths

    roots = folder_paths.folder_names_and_paths.get("diffusers", ((), ()))[0]
    walks = ((root, folder, below) for root in roots for folder, below, _ in os.walk(root, followlinks=True))
    return {Path(folder).relative_to(root).as_posix(): folder for root, folder, below in walks if "vae" in below}


def publish(file: Path, kind: str = LORAS) -> tuple[str, Path]:
    """Add a file to a list of ComfyUI's, and return its name there, and its path.

    It is a copy of its own: a second name of the store's file would break if a user edits one of them. The name contains a
    digest of the file, because loaders cache files by name.
    """
    import folder_paths

    name = os.path.join("lorapipe", f"{file.stem}-{_digest(file)}{file.suffix or '.safetensors'}")  # noqa: PTH118 (spelled as in ComfyUI's list)
    target = Path(folder_paths.get_folder_paths(kind)[0]) / name
    if not target.exists():
        with replacing(target) as part:
            shutil.copyfile(file, part)
    return name, target


def tidy(target: Path, keep: int, used: Set[str]) -> list[Path]:
    """Remove older versions of a published file beyond the newest `keep`, and return them; 0 keeps all.

    Only copies that `publish` has made go: a file whose content is not that of the digest in its name is somebody's own.
    Those with a name in `used` stay.
    """
    stem, suffix = target.stem.rpartition("-")[0], target.suffix
    alike = re.compile(rf"{re.escape(stem)}-[0-9a-f]{{8}}{re.escape(suffix)}")
    found = [file for file in target.parent.iterdir() if alike.fullmatch(file.name) and file != target]
    found.sort(key=lambda file: file.stat().st_mtime, reverse=True)
    removed = []
    for file in found[max(keep - 1, 0) :] if keep else []:
        if file.name not in used and _digest(file) == file.stem.rpartition("-")[2]:
            file.unlink()
            removed.append(file)
    return removed


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:8]
