"""GPU memory and time of full-size trainings, compared with the estimate of `lorapipe plan`.

    python benchmarks/card.py                                   # the usual ones
    python benchmarks/card.py sdxl:1024:1:checkpointing sd15:512:4:optimizer=adamw8bit

A case is a family, a resolution, a batch, and knobs of the train stage (`adapter.type=loha` too) or `checkpointing`;
`finetune` trains the whole U-Net, `adafactor` is at fixed rates. Each runs in a process of its own: random
weights of full size (built in --work if missing), pictures prepared by the stage, then training steps. `held` is the
process's peak memory on the card, context included, `plan` the estimate, `used` the peak of tensors. With `text` in a
case, the text encoders are trained.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import full_size
import torch
import yaml
from step_time import context, prepared

from lorapipe.models import Checkpoint, Family
from lorapipe.spec import from_dict
from lorapipe.stages.train import Train
from lorapipe.training import device as devices
from lorapipe.training.trainer import Trainer
from lorapipe.training.training_memory import memory

USUAL = (
    "sd15:512:1",
    "sd15:512:1:checkpointing",
    "sd15:512:4:adapter.rank=8",
    "sd15:512:4:adapter.rank=8:adapter.type=loha",
    "sd15:512:1:text",
    "sd15:768:2:optimizer=prodigy",
    "sdxl:1024:1",
    "sdxl:1024:1:checkpointing",
    "sdxl:1024:1:checkpointing:optimizer=adamw8bit",
    "sdxl:1024:4:checkpointing",
    "sdxl:1024:1:checkpointing:text:optimizer=prodigy",
    "sd2:768:1",
    "sd15:512:1:checkpointing:finetune",
    "sd15:512:1:checkpointing:finetune:adapter.weights=bf16:adapter.fused_backward=true:optimizer=adamw8bit",
    "sdxl:1024:1:checkpointing:finetune:adapter.weights=bf16:adapter.fused_backward=true:adafactor",
)
STEPS, WARM_UP = 12, 4
GB = 1e9


def knobs_of(words: list[str]) -> dict[str, Any]:
    """Return the train stage's settings of a case."""
    found: dict[str, Any] = {"text_encoder_lr": 0.0, "adapter": {"type": "lora", "rank": 16}}
    for word in words:
        name, _, value = word.partition("=")
        if name == "text":
            del found["text_encoder_lr"]
        elif name == "checkpointing":
            found["gradient_checkpointing"] = True
        elif name.startswith("adapter."):
            found["adapter"][name.removeprefix("adapter.")] = yaml.safe_load(value)
        elif name == "finetune":
            found["adapter"] = {"type": "finetune"}
        elif name == "adafactor":
            found["optimizer"] = {"type": "adafactor", "relative_step": False, "warmup_init": False}
        else:
            found[name] = value
    return found


def most(kind: str) -> float:
    """Return the peak memory since the last reset, in GB."""
    return float(getattr(torch.cuda, f"max_memory_{kind}")() / GB) if torch.cuda.is_available() else 0.0


def forget() -> None:
    """Free cached memory and reset the peak."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def context_size() -> float:
    """Return the bytes in use on the card outside torch's allocator."""
    if not torch.cuda.is_available():
        return 0.0
    free, whole = torch.cuda.mem_get_info()
    return float(whole - free - torch.cuda.memory_reserved())


def measure(case: str, work: Path, device: str) -> dict[str, Any]:
    """Run a case in this process, and return its measurements."""
    family, side, batch, *words = case.split(":")
    base = Family.registry.get(family)(checkpoint=Checkpoint(work / family))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        dataset = prepared(folder, base, int(side), int(batch), device)
        found = {"prepare s": time.perf_counter() - start, "encoding GB": most("reserved")}
        told = {"batch": int(batch), "steps": STEPS, "snapshots": 1, **knobs_of(words)}
        train = replace(from_dict(Train, {"uses": "train", "dataset": "$dataset", **told}, folder), dataset=dataset)
        reckoned = memory(train, base, int(side) ** 2)
        forget()
        times, losses = [], []
        start = time.perf_counter()
        for step in Trainer.build(train, context(folder, "train", device)).steps():
            losses.append(step.loss.item())
            times.append(time.perf_counter() - start)
            start = time.perf_counter()
        own = context_size()
    finite = all(loss == loss and abs(loss) < 1e6 for loss in losses)
    return {
        **found,
        "used": most("allocated"),
        "reserved": most("reserved"),
        "held": most("reserved") + own / GB,
        "context": own / GB,
        "plan": reckoned.total / GB if reckoned else None,
        "first s": times[0],
        "step ms": 1e3 * statistics.median(times[WARM_UP:]),
        "losses": "finite" if finite else losses,
    }


def main() -> None:
    """Run each case in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=USUAL)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-full-size")
    parser.add_argument("--alone", action="store_true", help="run one case in this process")
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(measure(options.cases[0], options.work, devices.resolve("auto"))))
        return
    print(torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU", "torch", torch.__version__)
    for case in options.cases:
        family = case.partition(":")[0]
        if not (options.work / family / "scheduler").exists():
            full_size.build(family, options.work / family)
            forget()
        command = [sys.executable, __file__, "--work", str(options.work), "--alone", case]
        done = subprocess.run(command, capture_output=True, encoding="utf-8")
        if done.returncode:
            print(f"{case:50} failed:\n{done.stderr[-2000:]}", flush=True)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        told = "  ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())
        print(f"{case:50} {told}", flush=True)


if __name__ == "__main__":
    main()
