"""Tests against a real ComfyUI; CONTRIBUTING.md says how to run them. Without `COMFYUI_PATH` they are skipped."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from real_comfyui import ComfyUI, Server


@pytest.fixture(scope="session")
def comfyui() -> ComfyUI:
    """The ComfyUI checkout that the environment names."""
    from real_comfyui import ComfyUI

    if not (path := os.environ.get("COMFYUI_PATH")):
        pytest.skip("COMFYUI_PATH is not set")
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    # Absolute, but not resolved: a virtual environment's Python is a link.
    return ComfyUI(Path(path).absolute(), str(Path(shutil.which(python) or python).absolute()))


@pytest.fixture(scope="module")
def server(comfyui: ComfyUI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that loads tiny checkpoints, with text encoders in full precision, as in lorapipe on a CPU."""
    from real_comfyui import PACKS

    folder = tmp_path_factory.mktemp("comfyui")
    with comfyui.serve(folder, {"pack_tiny": PACKS / "pack_tiny"}, "--fp32-text-enc") as running:
        yield running
