"""What each kind of adapter learns of the example character, its file size, and its training time.

    python benchmarks/adapter_training.py [--kind loha oft …] [--device cpu] [--workers 1] [--count 45] [--work FOLDER]

Trains Penny as `pipelines/quickstart.yaml` does, with another adapter and rates that suit it, and prints a row of a Markdown
table for each; the base is the first row. *Likeness* is the identity that `evaluate` measures at strength 1, on prompts
that no caption has; *whole* and *asked* are what a classifier sees that was trained on drawings alone (see
`quickstart.py`). Seconds are of the training alone: of the processor on a CPU with one thread, of the clock on a GPU.
`--workers` trains several kinds beside one another.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from quickstart import PROMPTS, ROOT, classifier, named_prompts, shares

import lorapipe
from lorapipe import formats
from lorapipe.evaluation.sampler import Sampler, SamplingOptions
from lorapipe.models import Checkpoint
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Report, Weights
from lorapipe.training.adapter_layers.weights_adapter import WeightsAdapter
from lorapipe.training.model_contexts import attached
from tools.pocket.pictures import to_tensor

EXAMPLE, CFG, BATCH = "penny", 2.0, 9
HEADER = "| kind | settings | file | steps | seconds | likeness | whole | asked |\n|---|---|---|---|---|---|---|---|"
BASE = "the base"


RATES = {"unet_lr": 2e-3, "text_encoder_lr": 5e-4}


@dataclass(frozen=True)
class Kind:
    """An adapter with learning rates that suit it."""

    adapter: dict[str, Any]
    rates: dict[str, float] = field(default_factory=lambda: RATES)
    steps: int = 500

    @property
    def settings(self) -> str:
        """What the table says of it."""
        return ", ".join(f"{name} {value}" for name, value in self.adapter.items() if name not in ("type", "trigger"))


KINDS = {
    "lora": Kind({"type": "lora", "rank": 16}),
    "locon": Kind({"type": "locon", "rank": 16}),
    "dora": Kind({"type": "locon", "rank": 16, "dora": True}),
    "loha": Kind({"type": "loha", "rank": 8, "preset": "full"}),
    "lokr": Kind({"type": "lokr", "factor": 4, "full_matrix": True, "preset": "full"}),
    "oft": Kind({"type": "oft", "block_size": 8, "preset": "full"}),
    "ia3": Kind({"type": "ia3", "preset": "full"}, {"unet_lr": 5e-2, "text_encoder_lr": 1e-2}),
    "glora": Kind({"type": "glora", "rank": 8}),
    "full": Kind({"type": "full", "preset": "full"}, {"unet_lr": 5e-4, "text_encoder_lr": 1e-4}),
    "finetune": Kind({"type": "finetune"}, {"unet_lr": 2e-4, "text_encoder_lr": 4e-5}),
    "t-lora": Kind({"type": "lora", "rank": 16, "noise_rank": 8}),
    "vera": Kind({"type": "peft", "method": {"type": "vera"}}, {"unet_lr": 2e-2, "text_encoder_lr": 5e-3}),
    "boft": Kind({"type": "peft", "method": {"type": "boft"}}),
    "hra": Kind({"type": "peft", "method": {"type": "hra"}}, {"unet_lr": 1e-2, "text_encoder_lr": 2.5e-3}),
    "fourierft": Kind({"type": "peft", "method": {"type": "fourierft"}}, {"unet_lr": 1e-2, "text_encoder_lr": 2.5e-3}),
    "c3a": Kind({"type": "peft", "method": {"type": "c3a"}}, {"unet_lr": 1e-1, "text_encoder_lr": 2.5e-2}),
    "miss": Kind({"type": "peft", "method": {"type": "miss", "rank": 16}}),
    "gralora": Kind({"type": "peft", "method": {"type": "gralora"}}),
    "delora": Kind({"type": "peft", "method": {"type": "delora"}}),
    "hira": Kind({"type": "peft", "method": {"type": "hira"}}, {"unet_lr": 1e-2, "text_encoder_lr": 2.5e-3}),
    "embedding": Kind(
        {"type": "embedding", "trigger": "penny", "vectors": 8, "init": "creature"}, {"embedding_lr": 1e-2}
    ),
    "hypernetwork": Kind({"type": "hypernetwork"}, {"unet_lr": 1e-3}),
}
"""Adapters to train; `--kind` chooses some."""


def main() -> None:
    """Train and measure every kind, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--count", type=int, default=45)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-adapter-training")
    options = parser.parse_args()
    classifier(EXAMPLE, options.work)
    print(HEADER, flush=True)
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for row in pool.imap(partial(measured, options=options), [BASE, *options.kind]):
            print(row, flush=True)


def measured(name: str, options: argparse.Namespace) -> str:
    """Return the table row of a kind."""
    torch.set_num_threads(1)
    judge, (named, prompts) = classifier(EXAMPLE, options.work), named_prompts(EXAMPLE, options.count)
    if name == BASE:
        whole, asked = shares(judge, painted(None, prompts, options.device), named)
        return f"| {BASE} | | | | | | {whole:.0%} | {asked:.0%} |"
    kind, folder = KINDS[name], options.work / name
    weights, report, seconds = trained(kind, folder, options.device, prompts)
    file = weights.snapshots[-1].path
    whole, asked = shares(judge, painted(file, prompts, options.device), named)
    base, likeness = (
        next(each["identity"] for each in report["cells"] if bool(each["step"]) is own) for own in (False, True)
    )
    return (
        f"| {name} | {kind.settings} | {file.stat().st_size / 1000:.0f} kB | {kind.steps} | {seconds:.0f} | "
        f"{likeness:.0%} (base {base:.0%}) | {whole:.0%} | {asked:.0%} |"
    )


def trained(kind: Kind, folder: Path, device: str, prompts: list[str]) -> tuple[Weights, dict[str, Any], float]:
    """Train and evaluate in a new `folder`; return the weights, the report, and the training's seconds."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    dataset = {
        "uses": "prepare", "images": str(ROOT / "pipelines" / "examples" / EXAMPLE), "augment": {"flip": True},
        "base": {"family": "sd15", "checkpoint": "pocket"},
    }  # fmt: skip
    train = {
        "uses": "train", "dataset": "$dataset", "adapter": kind.adapter, "optimizer": "adamw", **kind.rates,
        "scheduler": "cosine", "captions": {"dropout": 0.1}, "batch": 4, "steps": kind.steps, "snapshots": 1,
    }  # fmt: skip
    grid = {
        "uses": "evaluate", "weights": "$penny", "prompts": prompts[:16], "pictures": 1, "strengths": [1.0], "cfg": CFG,
        "low_cfg": None, "part_strengths": [], "batch": 8,
    }  # fmt: skip
    file, seconds = folder / "pipeline.yaml", 0.0
    for stages in ({"dataset": dataset}, {"penny": train}, {"grid": grid}):
        written = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"] if file.exists() else {}
        file.write_text(yaml.safe_dump({"stages": {**written, **stages}}, allow_unicode=True), encoding="utf-8")
        started = _seconds(device)
        made = lorapipe.run(lorapipe.load(file), devices=(device,))
        seconds = _seconds(device) - started if "penny" in stages else seconds
    weights, report = made["penny"], made["grid"]
    assert isinstance(weights, Weights) and isinstance(report, Report)
    return weights, json.loads(report.data.read_text(encoding="utf-8")), seconds


def _seconds(device: str) -> float:
    """Seconds of the clock, or, on a CPU, of the processor in worker processes that have ended."""
    used = os.times()
    return time.monotonic() if device != "cpu" else used.children_user + used.children_system


def painted(file: Path | None, prompts: list[str], device: str) -> torch.Tensor:
    """Sample a picture for each prompt with the weights of `file`, or with the base: (N, 3, 64, 64) in -1..1."""
    model = SD15(checkpoint=Checkpoint.parse("pocket", Path())).load(device)
    sampler = Sampler(model, SamplingOptions((64, 64), cfg=CFG))

    def drawn() -> torch.Tensor:
        sampler.read(prompts)
        found = []
        for start in range(0, len(prompts), BATCH):
            some = prompts[start : start + BATCH]
            seeds = [1000 + place for place in range(start, start + len(some))]
            found += [np.asarray(picture) for picture in sampler.pictures(some, seeds, lambda: None)]
        return to_tensor(np.stack(found))

    if file is None:
        return drawn()
    weights = formats.open(file, model.kohya_names())
    with attached(WeightsAdapter(weights), model, weights.parts):
        return drawn()


if __name__ == "__main__":
    assert EXAMPLE in PROMPTS
    main()
