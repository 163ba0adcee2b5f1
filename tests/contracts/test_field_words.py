"""A search for a term of the field finds the file: in its name, its definitions, or its docstring."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "lorapipe"
WORDS = {
    "distributed": "training/data_parallel.py",
    "all_reduce": "training/data_parallel.py",
    "gradient accumulation": "training/loop.py",
    "mixed precision": "training/device.py",
    "moving average": "training/metrics_log.py",
    "tensorboard": "training/metrics_log.py",
    "flat": "training/flat_parameters.py",
    "parameter groups": "training/param_groups.py",
    "data_loader": "training/data_loader.py",
    "prefetch": "training/data/prefetch.py",
    "throughput": "training/throughput.py",
    "timestep": "training/diffusion.py",
    "noise schedule": "training/diffusion.py",
    "resume": "training/resume_state.py",
    "trainer": "training/trainer.py",
    "loralayer": "training/adapter_layers/lora_layer.py",
    "caption": "training/caption_augment.py",
    "training_set": "training/data/training_set.py",
    "grid_plan": "evaluation/grid_plan.py",
    "evaluator": "evaluation/evaluator.py",
    "scheduler": "pipeline/execution/scheduler.py",
    "webhook": "watch/notify.py",
    "successive halving": "tuning/successive_halving.py",
    "latin hypercube": "pipeline/matrix_samples.py",
    "onnx": "captioning/taggers/_onnx_interpreter.py",
    "resume_from": "training/training_continuation.py",
}


@pytest.mark.parametrize("word", WORDS)
def test_the_file_is_found_by_the_word(word: str) -> None:
    file = ROOT / WORDS[word]
    tree = ast.parse(file.read_text(encoding="utf-8"))
    defined = [node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    told = " ".join([file.stem, *defined, ast.get_docstring(tree) or ""])
    assert word in told.lower()
