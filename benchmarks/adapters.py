"""Memory and step time of each kind of adapter, relative to LoRA of the same rank.

    python benchmarks/adapters.py [--side 256] [--rank 8] [--repeats 3]

Memory: bytes saved for the backward pass by the whole U-Net of a full-size SD1.5 in bf16, on the meta device. Step:
forward and backward pass through every module that LoRA targets there, float32, with its own number of tokens; without
attention and the rest of the network, so ratios of whole steps are lower. Times are CPU seconds of the process, the
minimum of several repeats. With LyCORIS installed (`pip install lycoris-lora`) its own modules run in the same loop.
Goal: LoHa of rank 8 saves at most 1.15 times LoRA's bytes, and its step takes at most 1.25 times as long.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import memory
import torch

from lorapipe.models._unet import LatentDiffusion
from lorapipe.models.sd15 import SD15
from lorapipe.training.adapter_layers.target_knobs import TargetKnobs
from lorapipe.training.adapters.full import Full
from lorapipe.training.adapters.loha import LoHa
from lorapipe.training.adapters.lokr import LoKr
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.adapters.oft import OFT

Shape = tuple[int, int, int]
"""(tokens, inputs, outputs) of a module."""
Layer = Callable[[torch.nn.Module], torch.nn.Module]


def kinds(rank: int) -> dict[str, TargetKnobs]:
    """Return every kind with this rank; LoRA is the reference."""
    return {
        "lora": LoRA(rank=rank),
        f"lora of {2 * rank}, as many numbers as loha": LoRA(rank=2 * rank),
        "loha": LoHa(rank=rank),
        "lokr": LoKr(rank=rank),
        "lokr, whole factors": LoKr(full_matrix=True),
        "lora with dora": LoRA(rank=rank, dora=True),
        "loha with dora": LoHa(rank=rank, dora=True),
        "oft": OFT(block_size=8),
        "full": Full(),
    }


def peers(rank: int) -> dict[str, Layer]:
    """Return LyCORIS' own modules, where it is installed."""
    try:
        from lycoris import modules
    except ImportError:
        return {}

    def layer(kind: Any, **options: object) -> Layer:
        def around(base: torch.nn.Module) -> torch.nn.Module:
            made: torch.nn.Module = kind("lora_unet_x", base, 1.0, lora_dim=rank, alpha=rank, **options)
            made.apply_to()  # type: ignore[operator]
            return made

        return around

    return {
        "LyCORIS locon": layer(modules.LoConModule),
        "LyCORIS loha": layer(modules.LohaModule),
        "LyCORIS lokr": layer(modules.LokrModule, factor=8),
        "LyCORIS locon with dora": layer(modules.LoConModule, weight_decompose=True, wd_on_out=False),
        "LyCORIS diag-oft": layer(modules.DiagOFTModule),
    }


def shapes(model: LatentDiffusion, side: int) -> Counter[Shape]:
    """Count the module shapes in a step on a picture of `side` pixels."""
    found: Counter[Shape] = Counter()

    def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], _: object) -> None:
        weight, x = module.weight, inputs[0]
        tokens = x.shape[2] * x.shape[3] if x.dim() == 4 else x.shape[:-1].numel()
        found[tokens, weight.shape[1], weight.shape[0]] += 1

    modules = [model.part("unet").get_submodule(ref.path) for ref in model.targets("unet")]
    hooks = [module.register_forward_hook(note) for module in modules]
    memory.kept(model, side, False)
    for hook in hooks:
        hook.remove()
    return found


def passes(layer: Layer, wanted: Counter[Shape], repeats: int) -> float:
    """Return the CPU seconds of forward and backward pass through all modules."""
    total = 0.0
    for (tokens, inputs, outputs), count in wanted.items():
        torch.manual_seed(0)
        module = layer(torch.nn.Linear(inputs, outputs).requires_grad_(False))
        x = torch.randn(1, tokens, inputs, requires_grad=True)
        total += count * min(_once(module, x) for _ in range(repeats))
    return total


def _once(module: torch.nn.Module, x: torch.Tensor) -> float:
    start = time.process_time()
    output: torch.Tensor = module(x)
    output.backward(torch.ones_like(output))
    return time.process_time() - start


def layer_of(adapter: TargetKnobs) -> Layer:
    """Return a function that wraps a module in the adapter's layer, with initial values."""

    def around(base: torch.nn.Module) -> torch.nn.Module:
        layer = adapter.layer_of(base, adapter.width(True))
        layer.reset(torch.Generator().manual_seed(0))
        return layer

    return around


def rows(options: argparse.Namespace) -> Iterator[tuple[str, int | None, float]]:
    """Yield (kind, bytes saved for the backward pass, seconds)."""
    torch.nn.functional.scaled_dot_product_attention = memory.attention
    model = memory.held(SD15)
    wanted = shapes(model, options.side)
    for name, adapter in kinds(options.rank).items():
        attached = adapter.attach(model, ["unet"])
        kept = memory.kept(model, options.side, False)
        attached.detach()
        yield name, kept, passes(layer_of(adapter), wanted, options.repeats)
    for name, layer in peers(options.rank).items():
        yield name, None, passes(layer, wanted, options.repeats)


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"SD1.5, {options.side} px, rank {options.rank}, beside lora of that rank")
    print(f"{'kind':42} {'kept, MiB':>10} {'ratio':>6} {'step, s':>8} {'ratio':>6}")
    first: tuple[int, float] | None = None
    for name, kept, seconds in rows(options):
        first = first or (kept or 0, seconds)
        held = f"{kept / 2**20:10,.1f} {kept / first[0]:6.2f}" if kept else f"{'':17}"
        print(f"{name:42} {held} {seconds:8.2f} {seconds / first[1]:6.2f}", flush=True)


if __name__ == "__main__":
    main()
