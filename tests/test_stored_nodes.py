"""The file of the nodes' descriptions, which keeps ComfyUI's start short."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from comfy_nodes import describe, stored_nodes

ROOT = Path(__file__).parents[1]
OPTIMIZER = '''
from dataclasses import dataclass
from typing import ClassVar

from lorapipe.training.optimizers import Optimizer


@dataclass(frozen=True)
class Mine(Optimizer):
    """An optimizer of one's own."""

    implementation: ClassVar[str] = "torch.optim.sgd:SGD"
'''


def test_the_stored_descriptions_are_those_of_the_specs() -> None:
    assert stored_nodes.FILE.read_text(encoding="utf-8") == stored_nodes.text(), "python tools/generate.py"
    stored, described = stored_nodes.nodes(), describe.nodes()
    assert [*stored] == [*described] and stored == described
    assert all(node.spec is described[id].spec for id, node in stored.items())


def test_another_package_has_its_nodes(plugins: None) -> None:
    assert '"LorapipeAdapterTrilora"' not in stored_nodes.FILE.read_text("utf-8")
    assert "LorapipeAdapterTrilora" in stored_nodes.nodes()


def ids(folder: Path) -> str:
    """Return the ids of the nodes, and whether the stages were imported for them, in a process of its own."""
    probe = "import sys; from comfy_nodes.bridge import stored_nodes; print(*stored_nodes.nodes(), *sys.modules)"
    run = subprocess.run([sys.executable, "-c", probe], cwd=folder, capture_output=True, encoding="utf-8", timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("own", [False, True])
def test_a_file_of_ones_own_has_its_node_at_once_and_otherwise_no_stage_is_imported(own: bool, tmp_path: Path) -> None:
    for package in ("lorapipe", "comfy_nodes"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "docs"))
    if own:
        (tmp_path / "lorapipe/training/optimizers/mine.py").write_text(OPTIMIZER, encoding="utf-8")
    found = ids(tmp_path).split()
    assert "LorapipeStageTrain" in found and ("LorapipeOptimizerMine" in found) == own
    assert ("lorapipe.stages" in found) == own
