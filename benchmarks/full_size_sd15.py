"""Time and memory of a full-size SD1.5: load it as a folder and as a single file, train three steps at 256 px, export.

    python benchmarks/full_size_sd15.py [--work FOLDER]

Needs about 6 GB of disk in FOLDER, and prints seconds and peak memory of each part, each in a process of its own. The
weights are random and the tokenizer is the pocket base's, so nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
PIPELINE = """\
stages:
  dataset: {{uses: prepare, images: photos, resolution: 256, held_out: 0, base: {base}}}
  subject: {{uses: train, dataset: $dataset, steps: 3, precision: bf16, snapshots: 1}}
  file: {{uses: export, weights: $subject, to: {name}.safetensors}}
"""


def build(work: Path) -> None:
    """Write `folder/` (diffusers layout) and `single.safetensors` (LDM layout), fp16."""
    import full_size
    import ldm_layout
    from safetensors.torch import save_file

    from lorapipe import pocket

    parts = full_size.build("sd15", work / "folder")
    shutil.copytree(pocket.BASE / "tokenizer", work / "tokenizer", dirs_exist_ok=True)  # a single file's lies beside it
    text = ldm_layout.clip(parts["text_encoder"], "cond_stage_model.transformer.")
    save_file(ldm_layout.checkpoint(parts["unet"], parts["vae"], text), work / "single.safetensors")


def load(path: Path) -> None:
    """Load every part and print the seconds, without imports."""
    import diffusers
    import transformers

    from lorapipe.models import Checkpoint
    from lorapipe.models.sd15 import SD15

    assert diffusers.UNet2DConditionModel and transformers.CLIPTextModel  # their import is not the loading
    start = time.perf_counter()
    model = SD15(checkpoint=Checkpoint(path)).load("cpu", "fp16")
    parameters = sum(p.numel() for part in ("unet", "vae", "text_encoder") for p in model.part(part).parameters())
    print(f"loaded {parameters / 1e6:.0f} M parameters in {time.perf_counter() - start:.1f} s")


def photographs(folder: Path) -> None:
    """Save three photographs that scikit-image ships."""
    from PIL import Image
    from skimage import data

    folder.mkdir(exist_ok=True)
    for name in ("astronaut", "coffee", "chelsea"):
        Image.fromarray(getattr(data, name)()).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"a photograph of {name}", encoding="utf-8")


def train(work: Path, checkpoint: str) -> None:
    """Prepare, train three steps and export, in this process, and count the file's modules."""
    from safetensors import safe_open

    from lorapipe.pipeline import loader
    from lorapipe.pipeline.events import Failed, Finished, Progress
    from lorapipe.pipeline.execution.runner import Run

    photographs(work / "photos")
    name = f"{Path(checkpoint).stem}-lora"
    file = work / f"{name}.yaml"
    base = json.dumps({"family": "sd15", "checkpoint": checkpoint})
    file.write_text(PIPELINE.format(base=base, name=name), encoding="utf-8")
    for event in Run(loader.load(file), on="inline", devices=["cpu"]):
        if isinstance(event, (Failed, Finished, Progress)):
            print(event, flush=True)
    with safe_open(work / f"{name}.safetensors", framework="pt") as written:
        modules = [key for key in written.keys() if key.endswith(".alpha")]  # noqa: SIM118
    for prefix in ("lora_unet", "lora_te"):
        print(prefix, sum(key.startswith(prefix) for key in modules), "modules")


def apart(work: Path, *arguments: str) -> None:
    """Run one part of this file in a process of its own; print its time and the peak memory of all processes so far."""
    start = time.perf_counter()
    subprocess.run([sys.executable, __file__, "--work", str(work), *arguments], check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"== {' '.join(arguments)}: {time.perf_counter() - start:.1f} s; peak so far {peak:.1f} GB\n", flush=True)


def main() -> None:
    """Build once, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-full-size")
    parser.add_argument("part", nargs="*", help="build; load PATH; train PATH")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    match options.part:
        case ["build"]:
            build(options.work)
        case ["load", path]:
            load(options.work / path)
        case ["train", path]:
            train(options.work, path)
        case _:
            if not (options.work / "single.safetensors").exists():
                apart(options.work, "build")
            for checkpoint in ("folder", "single.safetensors"):
                for part in ("load", "load", "train"):  # cold, warm, and the training
                    apart(options.work, part, checkpoint)


if __name__ == "__main__":
    main()
