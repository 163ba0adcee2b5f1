"""Counts the activation memory of a training for each family, with full-size models on the meta device.

    python benchmarks/memory.py

Prints for each family the bytes that a forward pass saves for the backward pass, per pixel of the picture: the `Activations`
in the families' files. `lorapipe plan` estimates with them, and with the shapes of the base's tensors (`Footprint`). Takes
seconds and no memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import full_size
import torch

from lorapipe.models import Checkpoint, Family
from lorapipe.models._stable_diffusion import StableDiffusion
from lorapipe.models._unet import LatentDiffusion
from lorapipe.training.adapters.lora import LoRA
from lorapipe.training.model_contexts import gradient_checkpointing

RANK = 16


class Flash(torch.autograd.Function):
    """Saves the tensors that fused scaled dot-product attention saves; on the meta device torch uses another kernel."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Save queries, keys, values, the output, and a number for each query."""
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Never called."""
        raise NotImplementedError


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
    """Replace torch's function."""
    output: torch.Tensor = Flash.apply(query, key, value)
    return output


def held(family: type[StableDiffusion]) -> LatentDiffusion:
    """Return a full-size base on the meta device, in bf16."""
    model = full_size.empty(family)
    for name in (*model.trainable, "vae"):
        part = model.skeleton(name).to(torch.float32 if name == "vae" else torch.bfloat16)
        model._parts[name] = part.requires_grad_(False).eval()
    return model


def kept(model: LatentDiffusion, side: int, checkpointed: bool | Sequence[str]) -> int:
    """Return the bytes that the U-Net's forward pass saves for a picture of `side` pixels, without parameters.

    `checkpointed` are the blocks that are computed again; True: all.
    """
    sizes: dict[int, int] = {}
    alive = []
    held = [
        tensor.untyped_storage() for tensor in model.part("unet").parameters()
    ]  # kept alive, so that addresses are not reused
    ours = {storage._cdata for storage in held}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in ours:
            sizes[storage._cdata] = storage.nbytes()
            alive.append(storage)
        return tensor

    latents = torch.zeros(1, 4, side // 8, side // 8, device="meta")
    width = model.source.config("unet")["cross_attention_dim"]
    pooled = torch.zeros(1, 1280, device="meta")
    time_ids = torch.zeros(1, 6, device="meta")
    condition = {"hidden": torch.zeros(1, 77, width, device="meta"), "pooled": pooled, "time_ids": time_ids}
    with (
        gradient_checkpointing(model, checkpointed),
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        model.predict(latents, torch.zeros(1, dtype=torch.long, device="meta"), condition)
    return sum(sizes.values())


def shares(model: LatentDiffusion, family: StableDiffusion, least: float) -> Iterator[tuple[int, float, float]]:
    """Yield some numbers of blocks that are computed again, and what is kept then: counted, and as estimated."""
    footprint, side = family.footprint(), 1024
    assert footprint is not None
    whole, blocks = kept(model, side, False) / side**2, [*footprint.recomputed]
    for count in (len(blocks) * part // 8 for part in (2, 4, 6)):
        saved = sum(footprint.recomputed[path] for path in blocks[:count])
        yield count, kept(model, side, blocks[:count]) / side**2, whole - (whole - least) * saved


def main() -> None:
    """Print the counts."""
    torch.nn.functional.scaled_dot_product_attention = attention
    assert Family.registry is not None
    for name in Family.registry.names():
        family = Family.registry.get(name)
        if not issubclass(family, StableDiffusion):
            continue
        model = held(family)
        print(name)
        for part in model.trainable:
            count = sum(parameter.numel() for parameter in model.part(part).parameters())
            print(f"  {part:16} {count:>13,} parameters  {len(model.modules(part)):>5,} modules for adapters")
        attached = LoRA(rank=RANK).attach(model, ["unet"])
        for checkpointed in (False, True):
            sides = (256, 512, 1024)
            each = [kept(model, side, checkpointed) / side**2 for side in sides]
            told = "  ".join(f"{side} px {value:8,.0f}" for side, value in zip(sides, each, strict=True))
            print(f"  kept, bytes a pixel, {'checkpointed' if checkpointed else 'whole':12}  {told}")
        for count, counted, estimated in shares(
            model, family(checkpoint=Checkpoint(Path("none.safetensors"))), each[-1]
        ):
            print(f"  {count:3} blocks computed again: kept {counted:8,.0f}, estimated {estimated:8,.0f}")
        attached.detach()


if __name__ == "__main__":
    main()
