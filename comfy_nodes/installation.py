"""The installed lorapipe against the version of these nodes. It imports the standard library alone.

The folder may be updated without lorapipe, or lorapipe without the folder; the messages say what to run.
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SHOWN = ("locales", "example_workflows")
"""Folders that ComfyUI looks for in a pack: translations, and graphs of its Templates."""
COMFYUI = ("comfy", "folder_paths", "server", "nodes")
"""How modules begin that only ComfyUI has."""


def version() -> str:
    """Return the version of these nodes."""
    about = tomllib.loads((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))
    return str(about["project"]["version"])


def check() -> None:
    """Raise `RuntimeError`, with the command to run, unless lorapipe is installed in the version of these nodes."""
    import lorapipe

    if lorapipe.__version__ != version():
        what = f"these nodes are of lorapipe {version()}, but lorapipe {lorapipe.__version__} is installed."
        raise RuntimeError(f"{what} {cure()}")


@contextmanager
def explained() -> Iterator[None]:
    """Turn the error of a missing package into one that says what to run."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package.startswith(COMFYUI):
            raise
        raise RuntimeError(f"{package} is not installed in ComfyUI's Python. {cure()}") from error


def cure() -> str:
    """Return the command that installs what is missing."""
    return f'Run "{sys.executable}" "{FOLDER / "install.py"}" and restart ComfyUI.'


def lay_out(clone: Path) -> None:
    """Link, or else copy, this folder's texts and example graphs to the top of a clone of the repository.

    ComfyUI looks for them in the top folder of a pack alone. A copy is written anew each time: a clone may be updated.
    """
    for name in SHOWN:
        place = clone / name
        with suppress(OSError):
            place.symlink_to(Path("comfy_nodes", name), target_is_directory=True)
        if not place.is_symlink():
            with suppress(OSError):
                shutil.copytree(clone / "comfy_nodes" / name, place, dirs_exist_ok=True)
