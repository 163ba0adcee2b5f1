"""Tests against a real ComfyUI; CONTRIBUTING.md says how they are run. Without `COMFYUI_PATH` they are skipped."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from server import ComfyUI, Server


@pytest.fixture(scope="session")
def comfyui() -> ComfyUI:
    """The checkout that the environment names."""
    from server import ComfyUI

    if not (path := os.environ.get("COMFYUI_PATH")):
        pytest.skip("COMFYUI_PATH is not set")
    return ComfyUI(Path(path).resolve(), os.environ.get("COMFYUI_PYTHON", sys.executable))


@pytest.fixture(scope="module")
def server(comfyui: ComfyUI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that loads tiny checkpoints; text encoders in full precision, as lorapipe has them on a CPU."""
    from server import PACKS

    folder = tmp_path_factory.mktemp("comfyui")
    with comfyui.serve(folder, {"pack_tiny": PACKS / "pack_tiny"}, "--fp32-text-enc") as running:
        yield running
