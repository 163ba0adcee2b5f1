"""ComfyUI's folders: where its models, pictures and results lie, and where a LoRA file is put for its loaders.

It knows ComfyUI, of which it uses `folder_paths` alone, where that is needed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import partial
from pathlib import Path

from lorapipe.atomic import replacing

from .paths import GraphPaths

CHECKPOINTS = "checkpoints"
PICTURE_FOLDERS, PROJECT_FOLDER = "lorapipe_pictures", "lorapipe_project"
"""What a user may name in ComfyUI's extra_model_paths.yaml: more folders to read, and the project's own."""


def comfy_paths() -> GraphPaths:
    """ComfyUI's folders, and those that its user has named for lorapipe."""
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
        pictures=tuple(own),
        readable=(given, output, project, *own, *models),
        writable=(project, output, *map(Path, named["loras"][0])),
        models={kind: partial(_models, kind) for kind in kinds},
        model=_model,
    )


def _models(kind: str) -> list[str]:
    """ComfyUI's models of a kind; of checkpoints, those in diffusers folders too."""
    import folder_paths

    files = list(folder_paths.get_filename_list(kind))
    return [*files, *_diffusers()] if kind == CHECKPOINTS else files


def _model(kind: str, name: str) -> str | None:
    """Where a model of that list lies."""
    import folder_paths

    found = folder_paths.get_full_path(kind, name)
    return str(found) if found else _diffusers().get(name) if kind == CHECKPOINTS else None


def _diffusers() -> dict[str, str]:
    """Folders of the diffusers library below ComfyUI's folder for them, by their names: each has a `vae`."""
    import folder_paths

    roots = folder_paths.folder_names_and_paths.get("diffusers", ((), ()))[0]
    walks = ((root, folder, below) for root in roots for folder, below, _ in os.walk(root, followlinks=True))
    return {Path(folder).relative_to(root).as_posix(): folder for root, folder, below in walks if "vae" in below}


def publish(file: Path) -> tuple[str, Path]:
    """Put a LoRA file among ComfyUI's, at once and whole; its name in their list.

    The name has a digest of the file: loaders keep what they have read under a name, so none is used twice.
    """
    import folder_paths

    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    name = os.path.join("lorapipe", f"{file.stem}-{digest}{file.suffix or '.safetensors'}")  # noqa: PTH118 (spelled as in ComfyUI's list)
    target = Path(folder_paths.get_folder_paths("loras")[0]) / name
    if not target.exists():
        with replacing(target) as part:
            shutil.copyfile(file, part)
    return name, target
