"""Time of a training step of the train stage, compared with a bare loop on the same model, data sizes and adapter.

    python benchmarks/step_time.py                               # the pocket base, 64 px
    python benchmarks/full_size.py sd15 /tmp/sd15                # once: a random SD1.5 of full size
    python benchmarks/step_time.py --checkpoint /tmp/sd15 --resolution 256 --steps 6 --precision bf16

The bare loop is the minimum of a LoRA training: latents and encoded captions in memory, forward pass, backward pass,
`torch.optim.AdamW` on the LoRA parameters. It has no data order, min-SNR weighting, gradient clipping, metrics, progress or
checkpoints. The stage has all of them, uses the generator of `run`, and reads its cache.

Steps alternate between the two, in two orders (the one that loads its weights first gets better memory: up to 7 % on a CPU).
The ratio is that of the medians: CPU seconds of the process on a CPU, so that other programs disturb both little and
alike; wall time on a GPU. Run with OMP_NUM_THREADS=1 on a busy machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from lorapipe import pocket
from lorapipe.models import Checkpoint, Family
from lorapipe.models.sd15 import SD15
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.pipeline.context import Context, ModelCache
from lorapipe.spec import Duration, Source
from lorapipe.stages.prepare import Prepare
from lorapipe.stages.train import Train
from lorapipe.training import device as devices
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.data.buckets import Resolution
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.latents import load_latents
from lorapipe.training.data.manifest import Manifest
from lorapipe.training.interval import Interval
from lorapipe.training.trainer import Trainer

RANK = 16
WARM_UP = 3


def context(folder: Path, name: str, device: str) -> Context:
    """Make a stage's context like the engine, without output."""
    out, resume = folder / name / "out", folder / name / "resume"
    out.mkdir(parents=True)
    resume.mkdir()
    return Context(out, resume, folder / "cache", lambda event: None, lambda: False, device, ModelCache())


def prepared(folder: Path, base: Family, resolution: int | None, batch: int, device: str) -> Dataset:
    """Prepare a dataset of coloured squares: four batches in one bucket."""
    pictures = folder / "pictures"
    pictures.mkdir()
    side = resolution or base.native_size()
    for index in range(4 * batch):
        Image.effect_noise((side, side), 60 + index).convert("RGB").save(pictures / f"{index}.png")
        (pictures / f"{index}.txt").write_text(f"penny, picture {index}", encoding="utf-8")
    size = Resolution(side, side)
    prepare = Prepare(images=Source(pictures), base=base, resolution=size, duplicate_tolerance=0, held_out=0.0)
    return prepare.run(context(folder, "prepare", device))


def bare(
    base: SD15, dataset: Dataset, batch: int, where: str, dtype: str, cache: Cache, checkpointing: bool
) -> Iterator[torch.Tensor]:
    """Run the bare loop; yield the loss of each step."""
    model = base.load(where, dtype)
    pictures = Manifest.load(dataset.manifest).training
    batches = [pictures[start : start + batch] for start in range(0, len(pictures), batch)]
    latents = [load_latents(group, cache).to(model.device) for group in batches]
    with torch.no_grad():
        conditions = [model.encode_text([picture.caption for picture in group]) for group in batches]
    model.release("vae", "text_encoder")
    parameters = LoRA(rank=RANK).attach(model, ["unet"]).parameters()["unet"]
    if checkpointing:
        model.part("unet").enable_gradient_checkpointing()
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    schedule = model.diffusion.alphas_cumprod
    while True:
        for clean, condition in zip(latents, conditions, strict=True):
            noise = torch.randn_like(clean)
            timesteps = torch.randint(len(schedule), (len(clean),), device=clean.device)
            alpha_bar = schedule[timesteps][:, None, None, None]
            noisy = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise
            loss = torch.nn.functional.mse_loss(model.predict(noisy, timesteps, condition), noise)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            yield loss.detach()


def ours(dataset: Dataset, folder: Path, name: str, options: argparse.Namespace, where: str) -> Iterator[Any]:
    """Run the stage's steps, with a frozen text encoder as in the bare loop."""
    train = Train(
        dataset=dataset,
        adapter=LoRA(rank=RANK),
        steps=Duration(options.steps + WARM_UP + 1),
        snapshots=Interval(1),
        batch=options.batch,
        precision=options.precision,
        gradient_checkpointing=options.checkpointing,
        text_encoder_lr=0.0,
    )
    return Trainer.build(train, context(folder, name, where)).steps()


def seconds(loop: Iterator[Any], where: str) -> float:
    """Return the time of one step."""
    clock = time.process_time if where == "cpu" else time.perf_counter
    start = clock()
    next(loop)
    if where.startswith("cuda"):
        torch.cuda.synchronize()
    return clock() - start


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=pocket.BASE, help="an SD1.x checkpoint; the pocket base")
    parser.add_argument("--resolution", type=int, default=None, help="side in pixels; the base's own")
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--checkpointing", action="store_true", help="with gradient checkpointing")
    parser.add_argument("--beside-fp32", action="store_true", help="also the bare loop in fp32, to compare precisions")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=50, help="of each turn")
    options = parser.parse_args()
    where = devices.resolve("auto")
    base = SD15(checkpoint=Checkpoint(options.checkpoint))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = prepared(folder, base, options.resolution, options.batch, where)
        setting = (base, dataset, options.batch, where)
        cache = Cache(folder / "cache")
        times: dict[str, list[float]] = {}
        for turn in range(2):
            loops = {
                "bare": bare(*setting, options.precision, cache, options.checkpointing),
                "ours": ours(dataset, folder, f"train-{turn}", options, where),
            }
            if options.beside_fp32:
                loops["fp32"] = bare(*setting, "fp32", cache, options.checkpointing)
            for step in range(options.steps + WARM_UP):
                for which in sorted(loops, reverse=bool((step + turn) % 2)):
                    taken = seconds(loops[which], where)
                    if step >= WARM_UP:
                        times.setdefault(which, []).append(taken)
    medians = {which: statistics.median(taken) for which, taken in times.items()}
    print(f"{options.checkpoint.name}  {options.precision}  batch {options.batch}  {where}  torch {torch.__version__}")
    for which, median in medians.items():
        mean = statistics.fmean(times[which])
        print(f"{which}  median {1e3 * median:9.1f} ms  mean {1e3 * mean:9.1f} ms")
    print(f"ours / bare  {medians['ours'] / medians['bare']:.3f}")
    if options.beside_fp32:
        print(f"{options.precision} / fp32  {medians['bare'] / medians['fp32']:.3f}")


if __name__ == "__main__":
    main()
