"""Places of a hypernetwork: the layers of attention that make keys and values of a context. Does not import torch."""

from __future__ import annotations

from collections.abc import Iterator

from lorapipe.training.adapter_layers.targets import HasModules

KINDS = ("to_k", "to_v")


def sites(model: HasModules) -> Iterator[tuple[str, int, int]]:
    """Yield (module path, context width, 0 for keys or 1 for values) for the denoiser's attention layers."""
    for ref in model.modules(model.denoiser):
        kind = ref.path.rpartition(".")[2]
        if kind in KINDS:
            yield ref.path, ref.shape[1], KINDS.index(kind)
