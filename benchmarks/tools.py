"""CPU seconds, memory and error of the LoRA tools on a full-size base of random fp16 weights.

    python benchmarks/tools.py [extract resize merge check_merge bound] [--runs 3] [--family sd15|sdxl] [--work FOLDER]

Builds, once in FOLDER, a base and a tuned checkpoint (single files; 4.3 GB for SD1.5, 14 GB for SDXL) that differs from it
in every module that LoRA trains, by singular values that fall so that the best error of rank 32 is 0.0716. Each tool runs in
a process of its own; its seconds and its peak of memory include all imports. `bound` is what no merge can do without:
PyTorch's import, and reading, hashing and writing as many bytes, and reading and hashing them again.
The error is ‖ΔW' − ΔW‖ / ‖ΔW‖ over all modules; `best` is the least one possible.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

RATIO = 0.921
"""Ratio of successive singular values of the planted difference; 0.921³² = 0.0716."""
PLANTED = 96
REFERENCE = {
    ("extract", "sd15"): "241 s, 9.3 GB, error 0.187; limit 6.2 to 10.5 s, 0.32 GB, error 0.0722",
    ("resize", "sd15"): "173 s, 0.9 GB; limit 3.1 s, 0.16 GB",
    ("merge", "sd15"): "26 s, 6.3 GB; limit 7.4 s, 0.27 GB",
}
"""sd-scripts' tools on the same task, measured once, and the limit that was computed for this machine's kind."""


# ------------------------------------------------------------------------------------------------------------- the files


def build(family: str, work: Path) -> None:
    """Write `base.safetensors` and `tuned.safetensors` in the original layout."""
    import torch

    from lorapipe.models import Family
    from lorapipe.models._ldm_names import unet_name, vae_name
    from lorapipe.models._missing_tensors import shapes_of
    from lorapipe.models._parts import footprint
    from lorapipe.models._safetensors_writer import Entry, write
    from lorapipe.models._tensor_shapes import UNET

    assert Family.registry is not None
    kind: Any = Family.registry.get(family)
    texts, known = kind.model.texts, kind.known
    shapes = {
        part: shapes_of(texts, part, known[part]) or {} for part in ("unet", "vae", *(text.name for text in texts))
    }
    trained = footprint(kind.model, known, {part: shapes[part] for part in kind.model.trainable})
    targets = {(part, f"{ref.path}.weight") for part in kind.model.trainable for ref in trained.targets(part)}

    def keys(part: str) -> Iterator[tuple[str, list[str]]]:
        """Yield each key of a part's tensors in the file, with the tensors that it stacks."""
        from lorapipe.models._ldm_names import open_clip_name

        whole = {**UNET, **known["unet"]}
        attentions = ["CrossAttn" in each for each in whole["up_block_types"]]
        stacked: dict[str, list[str]] = {}
        for name in shapes[part]:
            if part == "unet":
                key = "model.diffusion_model." + unet_name(name, whole["layers_per_block"], attentions)
            elif part == "vae":
                key = "first_stage_model." + vae_name(name, len(known["vae"]["block_out_channels"]))
            else:
                text = next(text for text in texts if text.name == part)
                key = text.prefix + (open_clip_name(name) if text.open_clip else f"text_model.{name}")
            stacked.setdefault(key, []).append(name)
        yield from stacked.items()

    def numbers(part: str, names: list[str], tuned: bool) -> Any:
        found = [_weight(part, name, shapes[part][name], tuned and (part, name) in targets) for name in names]
        if names == ["text_projection.weight"] and any(text.open_clip and text.name == part for text in texts):
            return found[0].T
        return torch.cat(found)

    def entry(part: str, names: list[str], tuned: bool) -> Entry:
        first = shapes[part][names[0]]
        return Entry((first[0] * len(names), *first[1:]), "F16", partial(numbers, part, names, tuned))

    for tuned in (False, True):
        entries = {key: entry(part, names, tuned) for part in shapes for key, names in keys(part)}
        write(work / f"{'tuned' if tuned else 'base'}.safetensors", entries, lambda digest: {"format": "pt"})


def _weight(part: str, name: str, shape: tuple[int, ...], planted: bool) -> Any:
    """Return a random tensor, the same for base and tuned, with the planted difference if wanted."""
    import zlib

    import torch

    if len(shape) == 1:
        return torch.full(shape, float(name.endswith("weight")))
    width, seed = math.prod(shape[1:]), zlib.crc32(f"{part} {name}".encode())
    block, count = _block().roll(seed % 1000), math.prod(shape)
    weight = block.repeat(-(-count // len(block)))[:count].reshape(shape).mul(width**-0.5).half().float()
    generator = torch.Generator().manual_seed(seed)
    if planted:
        rank = min(PLANTED, shape[0], width)
        values = RATIO ** torch.arange(rank)
        left = torch.linalg.qr(torch.randn(shape[0], rank, generator=generator))[0]
        right = torch.linalg.qr(torch.randn(width, rank, generator=generator))[0]
        weight += ((left * values) @ right.T).reshape(shape)
    return weight


@functools.cache
def _block() -> Any:
    """Return four million normal values, of which weights are made: drawing billions would take minutes."""
    import torch

    return torch.randn(1 << 22, generator=torch.Generator().manual_seed(0))


def best_error(rank: int) -> float:
    """Return the error of the best approximation of the planted difference, without fp16's rounding."""
    squares = [RATIO ** (2 * index) for index in range(PLANTED)]
    return math.sqrt(sum(squares[rank:]) / sum(squares))


# ------------------------------------------------------------------------------------------------------------- the tools


def base(family: str, path: Path) -> Any:
    """Return the base in a file."""
    from lorapipe.models import Checkpoint, Family

    assert Family.registry is not None
    return Family.registry.get(family)(checkpoint=Checkpoint(path))


def extract(family: str, work: Path, rank: int) -> dict[str, float]:
    """Extract a LoRA, and return its error beside the best."""
    from lorapipe.lora_tools.extract import ExtractRules
    from lorapipe.lora_tools.extract import extract as extracted

    tuned, own = (base(family, work / f"{name}.safetensors") for name in ("tuned", "base"))
    found = extracted(tuned, own, ExtractRules(rank=rank), work / f"lora{rank}.safetensors")
    return {"modules": len(found.modules), "error": found.error, "best": best_error(rank)}


def resize(family: str, work: Path, rank: int) -> dict[str, float]:
    """Resize the extracted LoRA to a quarter of its rank."""
    from lorapipe.lora_tools.resize import ResizeRules
    from lorapipe.lora_tools.resize import resize as resized

    found = resized(work / f"lora{rank}.safetensors", ResizeRules(rank // 4), work / f"lora{rank // 4}.safetensors")
    return {"modules": len(found.modules), "error": found.error}


def merge(family: str, work: Path, rank: int) -> dict[str, float]:
    """Merge the extracted LoRA into the base at 0.8."""
    from lorapipe.lora_tools.checkpoint_merge import merge_adapters
    from lorapipe.lora_tools.weighted_adapters import Strengths, WeightedFile

    files = [WeightedFile(work / f"lora{rank}.safetensors", Strengths(0.8))]
    found = merge_adapters(base(family, work / "base.safetensors"), files, work / "merged.safetensors")
    return {"modules": found.layers}


def check_merge(family: str, work: Path, rank: int) -> dict[str, float]:
    """Compare each merged weight with W + 0.8 · ΔW in float32, rounded once, and all others with the base's bytes."""
    import torch
    from safetensors import safe_open

    own = base(family, work / "base.safetensors")
    names, places = own.module_names(), own.tensor_places()
    lora, old, new = (
        safe_open(work / f"{name}.safetensors", framework="pt") for name in (f"lora{rank}", "base", "merged")
    )
    sums: dict[str, dict[int, Any]] = {}
    for key in (key for key in lora.keys() if key.endswith(".lora_down.weight")):  # noqa: SIM118
        name = key.removesuffix(".lora_down.weight")
        down, up = lora.get_tensor(key).float(), lora.get_tensor(f"{name}.lora_up.weight").float()
        scale = float(lora.get_tensor(f"{name}.alpha")) / down.shape[0]
        place = places[names[name][0], f"{names[name][1]}.weight"]
        sums.setdefault(place.key, {})[place.slice_index] = 0.8 * (scale * (up.flatten(1) @ down.flatten(1)))
    wrong = 0
    for key in old.keys():  # noqa: SIM118
        wanted = old.get_tensor(key)
        if key in sums:
            count = 3 if "in_proj" in key else 1
            slices = [*wanted.float().chunk(count)]
            for index, delta in sums[key].items():
                slices[index] = slices[index] + delta.reshape(slices[index].shape)
            wanted = torch.cat(slices).to(wanted.dtype)
        wrong += not torch.equal(new.get_tensor(key), wanted)
    return {"tensors": len(old.keys()), "changed": len(sums), "not bit-identical": wrong}


def bound(family: str, work: Path, rank: int) -> dict[str, float]:
    """Import PyTorch, copy the base with a digest of its bytes, and read the copy with another."""
    import hashlib

    import torch  # noqa: F401 (its import is what is measured)

    copy, size = work / "copy", 1 << 20
    with (work / "base.safetensors").open("rb") as source, copy.open("wb") as target:
        digest = hashlib.sha256()
        while data := source.read(size):
            digest.update(data)
            target.write(data)
    with copy.open("rb") as source:
        same = hashlib.file_digest(source, "sha256").digest() == digest.digest()
    copy.unlink()
    return {"same": same}


TOOLS: dict[str, Callable[[str, Path, int], dict[str, float]]] = {
    "extract": extract, "resize": resize, "merge": merge, "check_merge": check_merge, "bound": bound,
}  # fmt: skip
"""Tool → a function that runs it on a family's files in a folder, and returns figures to show."""


def measured(tool: str, family: str, work: Path, rank: int) -> None:
    """Run a tool, and print its figures as JSON."""
    import resource

    found = TOOLS[tool](family, work, rank)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 1e6, **found}))


def of_process(words: list[str], threads: int) -> dict[str, float]:
    """Return the figures of a tool in a process of its own, with its seconds by the clock as `wall`."""
    start = time.perf_counter()
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    run = subprocess.run(
        [sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True, env=os.environ | limits
    )
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return {**found, "wall": time.perf_counter() - start}


def main() -> None:
    """Build the files where they are missing, then measure each tool in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tools", nargs="*", default=["extract", "resize", "merge", "check_merge"])
    parser.add_argument("--family", default="sd15")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--runs", type=int, default=1, help="of several runs in turns, the one with the fewest CPU seconds"
    )
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lorapipe-tools")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    work = options.work / options.family
    if options.one == "build":
        build(options.family, work)
        return
    if options.one:
        measured(options.one, options.family, work, options.rank)
        return
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "tuned.safetensors").exists():  # in a process of its own, whose memory does not count
        words = ["--one", "build", "--family", options.family, "--work", str(options.work)]
        subprocess.run([sys.executable, __file__, *words], check=True)
    common = ["--family", options.family, "--rank", str(options.rank), "--work", str(options.work)]
    runs: dict[str, list[dict[str, float]]] = {tool: [] for tool in options.tools}
    for _ in range(options.runs):
        for tool in options.tools:
            runs[tool].append(of_process(["--one", tool, *common], options.threads))
    for tool, found in runs.items():
        best = min(found, key=lambda each: each["cpu"])
        others = ", ".join(f"{name} {best[name]:.6g}" for name in best if name not in ("cpu", "peak", "wall"))
        print(f"{tool:<8} {best['cpu']:6.1f} CPU s ({best['wall']:.1f} s), {best['peak']:.3f} GB at most, {others}")
        if (peer := REFERENCE.get((tool, options.family))) is not None:
            print(f"{'':<8} sd-scripts: {peer}")


if __name__ == "__main__":
    main()
