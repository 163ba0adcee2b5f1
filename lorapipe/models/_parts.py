"""Load the parts of a base lazily; and the VAE, which all bases have."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lorapipe.errors import InputError, OutOfMemory
from lorapipe.models import Activations, Footprint, Model, ModuleRef, Pair, Shape
from lorapipe.models._diffusers_folder import COPY, keys_in, read_json, weights_in
from lorapipe.models._weight_files import Folder, SingleFile, Tensors, TextPart, fill, torch_dtype, vae_tensors
from lorapipe.models._word_vectors import WordVectors

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lorapipe.training.diffusion import Diffusion

MOST_TIMESTEPS = 100_000
PREDICTS = "Set what its network predicts, beside checkpoint: prediction: epsilon or v_prediction."


def halvings(config: Mapping[str, Any]) -> int:
    """Return the downscaling factor of an autoencoder or U-Net: each level but the last halves the sides."""
    factor: int = 2 ** (len(config["block_out_channels"]) - 1)
    return factor


@dataclass(frozen=True)
class Parts:
    """The sources of a base: its checkpoint, and a VAE from another file.

    `schedule` overrides the scheduler's configuration.
    """

    source: Folder | SingleFile
    vae: Path | None = None
    schedule: Mapping[str, Any] = field(default_factory=dict)


class PartsModel(Model):
    """A model whose parts are modules of diffusers and transformers, loaded from a folder or a single file."""

    texts: ClassVar[tuple[TextPart, ...]] = (TextPart(),)
    channels_last: ClassVar[tuple[str, ...]] = ()
    """Parts whose convolutions are faster with channels last in memory, on an NVIDIA GPU and in half precision."""

    def __init__(self, parts: Parts, device: str, dtype: str) -> None:
        import torch

        self.source = parts.source
        self.device = torch.device(device)
        self.dtype = torch_dtype(dtype)
        self._vae_file = parts.vae
        self._schedule = parts.schedule
        self._tokenizers: dict[str, Any] = {}
        self._parts: dict[str, torch.nn.Module] = {}
        self._modules: dict[str, list[ModuleRef]] = {}
        self._outer: dict[str, list[ModuleRef]] = {}
        self.words = {}
        self.diffusion = self.forward_process()

    @classmethod
    def of_shapes(
        cls,
        source: Folder | SingleFile,
        modules: Mapping[str, list[ModuleRef]],
        outer: Mapping[str, list[ModuleRef]],
    ) -> Self:
        """Return a model that answers for the names of its modules alone: nothing is loaded, and no library imported."""
        model = cls.__new__(cls)
        model.source = source
        model._modules, model._outer = dict(modules), dict(outer)
        return model

    @property
    def settings_folders(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("vae", *self.text_encoders, *(text.tokenizer for text in self.texts))

    def part(self, name: str) -> torch.nn.Module:
        import torch

        if name not in self._parts:
            with torch.inference_mode(False):  # parts that sampling loads can be trained in place, too
                module = self._load(name).to(self.device)
                if name in self.channels_last and self.device.type == "cuda" and self.dtype != torch.float32:
                    # before any adapter is in, whose weights must stay where its optimizer knows them
                    torch.nn.Module.to(module, memory_format=torch.channels_last)
                self._parts[name] = module
        return self._parts[name]

    def release(self, *names: str) -> None:
        import torch

        for name in names:
            self._parts.pop(name, None)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _load(self, name: str) -> torch.nn.Module:
        import torch

        module = self.skeleton(name)
        # The VAE keeps full precision: SD1.x VAEs overflow in fp16, and it runs only once per picture.
        dtype = torch.float32 if name == "vae" else self.dtype
        if name == "vae" and self._vae_file:
            fill(module, vae_tensors(self._vae_file, self.source.config(name)), dtype, where=str(self._vae_file))
        else:
            fill(module, self.tensors(name), dtype, where=f"{self.where()} {name}")
        return module

    def tensors(self, name: str) -> Tensors:
        """Return a part's weights by the names of its modules, memory-mapped."""
        return self.source.tensors(name)

    def skeleton(self, name: str) -> torch.nn.Module:
        """Build a part's modules from its configuration, without weights (on the meta device)."""
        from accelerate import init_empty_weights
        from diffusers import AutoencoderKL
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        config = self.source.config(name)
        with init_empty_weights():
            if name == "vae":
                return AutoencoderKL.from_config(config)
            for text in self.texts:
                if text.name == name:
                    kind = CLIPTextModelWithProjection if text.projected else CLIPTextModel
                    return kind(CLIPTextConfig(**config))
            return self.build(name, config)

    @abstractmethod
    def build(self, name: str, config: Mapping[str, Any]) -> torch.nn.Module:
        """Build the denoiser, or another part that is neither VAE nor CLIP text encoder, from its configuration."""

    def modules(self, part: str) -> list[ModuleRef]:
        if part not in self._modules:
            self._modules[part] = self.module_refs(part, self._layers(part), self.source.config(part))
        return self._modules[part]

    def outer_modules(self, part: str) -> list[ModuleRef]:
        if part not in self._outer:
            self._outer[part] = self.outer_refs(part, self._layers(part))
        return self._outer[part]

    def _layers(self, part: str) -> dict[str, Shape]:
        """Return the shapes of the weights of a part's Linear, Conv2d and normalisations, in model order."""
        import torch

        kinds = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm)
        found = ((path, layer) for path, layer in self.skeleton(part).named_modules() if isinstance(layer, kinds))
        return {path: tuple(layer.weight.shape) for path, layer in found if layer.weight is not None}

    @classmethod
    def outer_refs(cls, part: str, layers: Mapping[str, Shape]) -> list[ModuleRef]:
        """Return `Model.outer_modules` of a part, given its layers as for `module_refs`."""
        return []

    @classmethod
    @abstractmethod
    def module_refs(cls, part: str, layers: Mapping[str, Shape], config: Mapping[str, Any]) -> list[ModuleRef]:
        """Return `Model.modules` of a part, given its configuration and its layers: path → shape, in model order.

        Layers are Linear (a matrix), Conv2d (four dimensions) and normalisations (one). Plans call this without torch;
        their matrices may include embeddings.
        """

    @property
    def blocks(self) -> int:
        return self.block_count(self.source.config(self.denoiser))

    @classmethod
    def block_count(cls, config: Mapping[str, Any]) -> int:
        """Return `Model.blocks`, given the denoiser's configuration."""
        return 0

    @classmethod
    def recomputed_blocks(cls, layers: Mapping[str, Shape], config: Mapping[str, Any]) -> dict[str, float]:
        """Return `Footprint.recomputed`, given the denoiser's layers and its configuration; {} where it is unknown."""
        return {}

    # ------------------------------------------------------------------------------------------------ words of captions

    @property
    def word_encoders(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(text.name for text in self.texts)

    def word_vectors(self, part: str) -> WordVectors:
        """Return the trained words of a text encoder, besides its vocabulary."""
        return WordVectors({word: vectors[part] for word, vectors in self.words.items() if part in vectors})

    def token_table(self, part: str) -> Tensor:
        encoder: Any = self.part(part)
        table: Tensor = encoder.get_input_embeddings().weight
        return table.detach()

    def where(self) -> str:
        """Return the checkpoint's path, for messages."""
        return str(self.source.root if isinstance(self.source, Folder) else self.source.path)

    # -------------------------------------------------------------------------------------------------------- the VAE

    def latent_shape(self, size: Pair) -> tuple[int, int, int]:
        config = self.source.config("vae")
        factor = halvings(config)
        return config.get("latent_channels", 4), size[1] // factor, size[0] // factor

    def encode_images(self, pixels: Tensor) -> Tensor:
        import torch

        vae: Any = self.part("vae")
        with torch.no_grad():
            latents = vae.encode(pixels.to(self.device, torch.float32)).latent_dist.mode()
        if shift := vae.config.shift_factor:
            latents = latents - shift
        return latents * vae.config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        vae: Any = self.part("vae")
        latents = latents.to(vae.dtype) / vae.config.scaling_factor
        if shift := vae.config.shift_factor:
            latents = latents + shift
        pixels = _decoded(vae, latents)
        if pixels is None:  # such as SDXL's beside the base on 12 GB: from now on in tiles
            vae.enable_tiling()
            pixels = _decoded(vae, latents)
        if pixels is None:
            raise OutOfMemory("out of memory while decoding pictures.", cure="Use a smaller size, or precision: bf16.")
        return pixels.float()

    # ---------------------------------------------------------------------------------------------------- the process

    def forward_process(self) -> Diffusion:
        """Return the diffusion process that the scheduler's configuration describes."""
        import torch

        from lorapipe.training.diffusion import discrete

        scheduler = self.scheduler()
        try:
            alphas_cumprod = scheduler.alphas_cumprod.to(self.device, torch.float32)
            return discrete(scheduler.config.prediction_type, alphas_cumprod, scheduler.config)
        except ValueError as error:
            raise InputError(f"cannot be trained: {error}.", where=self.where(), cure=PREDICTS) from error

    def scheduler(self) -> Any:
        """Return the noise schedule of the training as a diffusers scheduler."""
        from diffusers import DDPMScheduler

        from lorapipe.training.diffusion import scheduler_from_config

        config = self.source.config("scheduler", "scheduler_config.json")
        steps = config.get("num_train_timesteps", 1000)
        try:
            if not isinstance(steps, int) or not 0 < steps <= MOST_TIMESTEPS:
                raise ValueError(f"num_train_timesteps is {steps}")
            return scheduler_from_config(DDPMScheduler, {**config, **self._schedule})
        except (ValueError, TypeError, AttributeError, NotImplementedError, RuntimeError) as error:
            what = f"has an invalid scheduler: {str(error).partition(chr(10))[0][:100]}."
            raise InputError(what, where=self.where(), cure=COPY) from error


def footprint(
    model: type[PartsModel],
    configs: Mapping[str, Mapping[str, Any]],
    shapes: Mapping[str, Mapping[str, Shape]],
    activations: Activations | None = None,
) -> Footprint:
    """Return a base's footprint, given its trainable parts' configurations and their tensors' names and shapes."""
    parameters = {part: sum(map(math.prod, tensors.values())) for part, tensors in shapes.items()}
    layers = {part: _layers(tensors) for part, tensors in shapes.items()}
    inner = {part: model.module_refs(part, found, configs[part]) for part, found in layers.items()}
    outer = {part: model.outer_refs(part, found) for part, found in layers.items()}
    blocks = model.block_count(configs[model.denoiser])
    recomputed = model.recomputed_blocks(layers[model.denoiser], configs[model.denoiser])
    return Footprint(model.denoiser, parameters, inner, outer, blocks, activations, recomputed)


def folder_footprint(model: type[PartsModel], folder: Path, activations: Activations | None = None) -> Footprint:
    """Return the footprint of a base in a diffusers folder, from its configurations and the headers of its files."""
    configs = {part: read_json(folder / part / "config.json") for part in model.trainable}
    shapes = {part: keys_in(weights_in(folder / part)) for part in model.trainable}
    return footprint(model, configs, shapes, activations)


def _layers(tensors: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the weights that may belong to Linear, Conv2d or normalisations, by path of the module."""
    weights = {name.removesuffix(".weight"): shape for name, shape in tensors.items() if name.endswith(".weight")}
    return {path: shape for path, shape in weights.items() if len(shape) in (1, 2, 4)}


def _decoded(vae: Any, latents: Tensor) -> Tensor | None:
    """Return the pixels of latents; None if memory is short, after freeing what was allocated."""
    import torch

    try:
        pixels: Tensor = vae.decode(latents, return_dict=False)[0]
        return pixels
    except torch.OutOfMemoryError:
        pass
    torch.cuda.empty_cache()
    return None
