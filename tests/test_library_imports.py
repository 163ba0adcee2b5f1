"""A worker imports what its stage uses, and other processes see no difference."""

from __future__ import annotations

import gc
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from lorapipe.library_imports import hidden, uncollected
from lorapipe.training.model_libraries import UNUSED

ROOT = Path(__file__).parents[1]
TRAINING = """
import sys
from dataclasses import replace
from pathlib import Path
import tiny
from lorapipe.pipeline.context import ModelCache
from lorapipe.spec import Duration
from lorapipe.stages.train import Train
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.interval import Interval
from lorapipe.training.optimizers.adamw8bit import AdamW8bit
from lorapipe.training.trainer import Trainer

folder = Path(sys.argv[1])
context = tiny.Bench(folder, ModelCache.of_worker()).context("train")
train = Train(dataset=tiny.dataset(folder), adapter=LoRA(rank=2), steps=Duration(1), snapshots=Interval(1), batch=1)
next(Trainer.build(train, context).steps())
print(*sorted({name.partition(".")[0] for name in sys.modules}))
if "8bit" in sys.argv:
    later = replace(train, optimizer=AdamW8bit())
    next(Trainer.build(later, tiny.Bench(folder, context.model_cache).context("8bit")).steps())
    print("bitsandbytes" in sys.modules)
"""


def output(script: str, *words: str, packages: tuple[str, ...] = ("", "tests")) -> list[str]:
    """Return the lines that a script prints in a process of its own."""
    path = os.pathsep.join(str(ROOT / package) for package in packages)
    run = subprocess.run(
        [sys.executable, "-c", script, *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        encoding="utf-8",
        timeout=240,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.mark.slow
def test_a_training_does_not_import_what_it_does_not_use(tmp_path: Path) -> None:
    tiny.dataset(tmp_path)
    assert all(importlib.util.find_spec(name) for name in UNUSED)  # they are installed, so that they could be imported
    loaded, with_8bit = output(TRAINING, str(tmp_path), "8bit")
    assert {"torch", "diffusers", "transformers"} <= set(loaded.split())
    assert not {*UNUSED, "onnxruntime", "pytorch_optimizer"} & set(loaded.split())
    assert with_8bit == "True"  # what is asked for is imported as ever, later in the same process, too


def test_what_packages_add_may_use_any_library() -> None:
    told = "from lorapipe.pipeline.context import ModelCache; print(ModelCache.of_worker().owns_process)"
    assert output(told) == ["True"]
    assert output(told, packages=("", "tests/toys")) == ["False"]


def test_a_hidden_package_is_found_again_afterwards() -> None:
    sys.modules.pop("colorsys", None)
    with hidden(["colorsys", "json"]):
        assert importlib.util.find_spec("colorsys") is None
        with pytest.raises(ModuleNotFoundError):
            import colorsys
        import json  # is imported already
    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 0) == (0, 0, 0)
    assert sys.modules["json"] is json


def test_garbage_is_collected_again_after_imports() -> None:
    assert gc.isenabled()
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
