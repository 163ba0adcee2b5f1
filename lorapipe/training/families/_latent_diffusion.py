"""A latent-diffusion base with one CLIP text encoder: U-Net, VAE and text in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorapipe.training.families import Condition, Model
from lorapipe.training.families._checkpoint import Folder, SingleFile, fill, read_tensors
from lorapipe.training.families._clip_text import CHUNK, hidden_states, tokenize

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

TRANSFORMER_BLOCKS = ("Transformer2DModel",)
CONVOLUTION_BLOCKS = ("ResnetBlock2D", "Downsample2D", "Upsample2D")
"""The U-Net's modules inside which kohya's LierLa, and in addition C3Lier, look for Linear and Conv2d."""


class LatentDiffusion(Model):
    """U-Net, VAE and CLIP text encoder, each loaded when first asked for."""

    trainable = ("unet", "text_encoder")
    tokens = CHUNK

    def __init__(self, source: Folder | SingleFile, device: str, dtype: str, vae: Path | None = None) -> None:
        import torch

        self.source = source
        self.device = torch.device(device)
        self.dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
        self._vae_file = vae
        self._tokenizer: Any = None
        self._parts: dict[str, torch.nn.Module] = {}
        schedule = self._scheduler()
        self.prediction = schedule.config.prediction_type
        self.alphas_cumprod = schedule.alphas_cumprod.to(self.device, torch.float32)

    def part(self, name: str) -> torch.nn.Module:
        """See `Model.part`."""
        if name not in self._parts:
            self._parts[name] = self._load(name).to(self.device)
        return self._parts[name]

    def release(self, *names: str) -> None:
        """See `Model.release`."""
        import torch

        for name in names:
            self._parts.pop(name, None)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _load(self, name: str) -> torch.nn.Module:
        import torch

        module = self.skeleton(name)
        # The VAE keeps full precision: SD1.x VAEs overflow in fp16, and it runs once per picture only.
        dtype = torch.float32 if name == "vae" else self.dtype
        own = name == "vae" and self._vae_file
        tensors = read_tensors(own) if own else self.source.tensors(name)
        fill(module, tensors, dtype, where=f"{self._where()} {name}")
        return module

    def skeleton(self, name: str) -> torch.nn.Module:
        """A part's modules by its configuration, without weights (on the meta device)."""
        from accelerate import init_empty_weights
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        config = self.source.config(name)
        with init_empty_weights():
            if name == "text_encoder":
                return CLIPTextModel(CLIPTextConfig(**config))
            return {"unet": UNet2DConditionModel, "vae": AutoencoderKL}[name].from_config(config)

    def _where(self) -> str:
        return str(self.source.root if isinstance(self.source, Folder) else self.source.path)

    # ----------------------------------------------------------------------------------------- pictures and captions

    def encode_images(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `Model.encode_images`."""
        import torch

        vae: Any = self.part("vae")
        with torch.no_grad():
            latents = vae.encode(pixels.to(self.device, torch.float32)).latent_dist.mode()
        return latents * vae.config.scaling_factor

    @property
    def tokenizer(self) -> Any:
        """The caption's tokenizer."""
        from transformers import CLIPTokenizer

        if self._tokenizer is None:
            self._tokenizer = CLIPTokenizer.from_pretrained(self.source.tokenizer(), local_files_only=True)
        return self._tokenizer

    def encode_text(self, captions: Sequence[str], *, max_tokens: int = 75, clip_skip: int = 1) -> Condition:
        """See `Model.encode_text`."""
        ids = tokenize(self.tokenizer, captions, max_tokens)
        return {"hidden": hidden_states(self.part("text_encoder"), ids, clip_skip)}

    # ---------------------------------------------------------------------------------------------------- prediction

    def predict(self, noisy: torch.Tensor, timesteps: torch.Tensor, condition: Condition) -> torch.Tensor:
        """See `Model.predict`; the network runs in the model's dtype, the answer is float32."""
        unet: Any = self.part("unet")
        hidden = condition["hidden"].to(self.device, self.dtype)
        return unet(noisy.to(self.dtype), timesteps, encoder_hidden_states=hidden, return_dict=False)[0].float()

    def pipeline(self) -> DiffusionPipeline:
        """See `Model.pipeline`."""
        from diffusers import StableDiffusionPipeline

        # Handed over in the U-Net's dtype; the VAE stays float32 and the sampler casts latents for it.
        pipeline = StableDiffusionPipeline(
            vae=self.part("vae"),
            text_encoder=self.part("text_encoder"),
            tokenizer=self.tokenizer,
            unet=self.part("unet"),
            scheduler=self._scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _scheduler(self) -> Any:
        from diffusers import DDPMScheduler

        return DDPMScheduler.from_config(self.source.config("scheduler", "scheduler_config.json"))

    # ---------------------------------------------------------------------------------------------------- for adapters

    def targets(self, part: str, convolutions: bool = False) -> list[str]:
        """See `Model.targets`."""
        import torch

        module = self._parts.get(part) or self.skeleton(part)
        kinds = (torch.nn.Linear, torch.nn.Conv2d)
        if part == "text_encoder":
            blocks: tuple[str, ...] = ("CLIPAttention", "CLIPMLP")
        else:
            blocks = TRANSFORMER_BLOCKS + (CONVOLUTION_BLOCKS if convolutions else ())
        found: dict[str, None] = {}
        for path, block in module.named_modules():
            # The class's own name: PEFT and accelerate may have wrapped what is inside, never these.
            if type(block).__name__ not in blocks:
                continue
            for inner, layer in block.named_modules(prefix=path):
                base = getattr(layer, "base_layer", layer)
                if isinstance(base, kinds) and (convolutions or _is_pointwise(base)):
                    found[inner] = None
        return [path for path in found if ".base_layer" not in path and ".lora_" not in path]

    def kohya_name(self, part: str, path: str) -> str:
        """See `Model.kohya_name`."""
        prefix = {"unet": "lora_unet", "text_encoder": "lora_te"}[part]
        if part == "text_encoder" and not path.startswith("text_model."):
            path = f"text_model.{path}"
        return f"{prefix}_{path.replace('.', '_')}"


def _is_pointwise(layer: torch.nn.Module) -> bool:
    return getattr(layer, "kernel_size", (1, 1)) == (1, 1)
