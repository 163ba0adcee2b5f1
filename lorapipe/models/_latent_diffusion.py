"""A latent-diffusion base: U-Net, VAE and CLIP text encoders in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lorapipe.errors import InputError
from lorapipe.models import Condition, Model
from lorapipe.models._clip_text import CHUNK, emphasis, hidden_states, tokenize, weighed
from lorapipe.models._diffusers_folder import COPY
from lorapipe.models._ldm_names import ldm_path
from lorapipe.models._weight_files import Folder, SingleFile, TextPart, fill, vae_tensors

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

    from lorapipe.training.diffusion import Discrete

TRANSFORMER_BLOCKS = ("Transformer2DModel",)
UP_BLOCKS = ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")
"""Where a configuration does not say: those of SD1.x, diffusers' default."""
MOST_TIMESTEPS = 100_000
PREDICTS = "Say what its network predicts, beside its checkpoint: prediction: epsilon or v_prediction."
CONVOLUTION_BLOCKS = ("ResnetBlock2D", "Downsample2D", "Upsample2D")
"""The U-Net's modules inside which kohya's LierLa, and in addition C3Lier, look for Linear and Conv2d."""


@dataclass(frozen=True)
class Parts:
    """Where a base comes from: its checkpoint, a VAE of another file, and what is known better than the checkpoint.

    `schedule` overrides the scheduler's configuration.
    """

    source: Folder | SingleFile
    vae: Path | None = None
    schedule: Mapping[str, Any] = field(default_factory=dict)


class LatentDiffusion(Model):
    """U-Net, VAE and CLIP text encoder, each loaded when first asked for."""

    texts: ClassVar[tuple[TextPart, ...]] = (TextPart(),)
    trainable: tuple[str, ...] = ("unet", "text_encoder")
    tokens = CHUNK

    def __init__(self, parts: Parts, device: str, dtype: str) -> None:
        import torch

        self.source = parts.source
        self.device = torch.device(device)
        self.dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
        self._vae_file = parts.vae
        self._schedule = parts.schedule
        self._tokenizers: dict[str, Any] = {}
        self._parts: dict[str, torch.nn.Module] = {}
        self.diffusion = self._diffusion()

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
        if name == "vae" and self._vae_file:
            fill(module, vae_tensors(self._vae_file, self.source.config(name)), dtype, where=str(self._vae_file))
        else:
            fill(module, self.source.tensors(name), dtype, where=f"{self._where()} {name}")
        return module

    def skeleton(self, name: str) -> torch.nn.Module:
        """A part's modules by its configuration, without weights (on the meta device)."""
        from accelerate import init_empty_weights
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        config = self.source.config(name)
        with init_empty_weights():
            for text in self.texts:
                if text.name == name:
                    kind = CLIPTextModelWithProjection if text.projected else CLIPTextModel
                    return kind(CLIPTextConfig(**config))
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

    def tokenizer(self, text: TextPart) -> Any:
        """The tokenizer of a text encoder."""
        from transformers import CLIPTokenizer

        if text.name not in self._tokenizers:
            folder = self.source.tokenizer(text.tokenizer)
            self._tokenizers[text.name] = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        return self._tokenizers[text.name]

    def ids(self, text: TextPart, captions: Sequence[str], max_tokens: int, weighted: bool) -> torch.Tensor:
        """Token ids (B, n, 77) of captions for a text encoder. A base's own tokenizer knows its padding."""
        pad = None if self.source.has_tokenizer(text.tokenizer) else text.pad
        return tokenize(self.tokenizer(text), captions, max_tokens, pad, weighted)

    def encode_text(
        self, captions: Sequence[str], *, max_tokens: int = 75, clip_skip: int = 1, weighted: bool = False
    ) -> Condition:
        """See `Model.encode_text`."""
        (text,) = self.texts
        hidden = hidden_states(self.part(text.name), self.ids(text, captions, max_tokens, weighted), clip_skip)
        return {"hidden": self.emphasised(hidden, text, captions, max_tokens) if weighted else hidden}

    def emphasised(
        self, hidden: torch.Tensor, text: TextPart, captions: Sequence[str], max_tokens: int
    ) -> torch.Tensor:
        """The hidden states of weighted captions."""
        return weighed(hidden, emphasis(self.tokenizer(text), captions, max_tokens))

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
            tokenizer=self.tokenizer(self.texts[0]),
            unet=self.part("unet"),
            scheduler=self._scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _diffusion(self) -> Discrete:
        import torch

        from lorapipe.training.diffusion import discrete

        scheduler = self._scheduler()
        try:
            alphas_cumprod = scheduler.alphas_cumprod.to(self.device, torch.float32)
            return discrete(scheduler.config.prediction_type, alphas_cumprod, scheduler.config)
        except ValueError as error:
            raise InputError(f"cannot be trained: {error}.", where=self._where(), cure=PREDICTS) from error

    def _scheduler(self) -> Any:
        from diffusers import DDPMScheduler

        config = self.source.config("scheduler", "scheduler_config.json")
        steps = config.get("num_train_timesteps", 1000)
        try:
            if not isinstance(steps, int) or not 0 < steps <= MOST_TIMESTEPS:
                raise ValueError(f"num_train_timesteps is {steps}")
            return DDPMScheduler.from_config({**config, **self._schedule})
        except (ValueError, TypeError, AttributeError, NotImplementedError, RuntimeError) as error:
            what = f"has a scheduler that cannot be right: {str(error).partition(chr(10))[0][:100]}."
            raise InputError(what, where=self._where(), cure=COPY) from error

    # ---------------------------------------------------------------------------------------------------- for adapters

    def targets(self, part: str, convolutions: bool = False) -> list[str]:
        """See `Model.targets`."""
        import torch

        module = self._parts.get(part) or self.skeleton(part)
        kinds = (torch.nn.Linear, torch.nn.Conv2d)
        if part != "unet":
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

    @property
    def blocks(self) -> int:
        """See `Model.blocks`: those that go down, the middle, those that go up."""
        return 2 * self._down + 1

    def block(self, path: str) -> int:
        """See `Model.block`."""
        half, place = self.ldm_path(path).split(".")[:2]
        return {"input_blocks": int(place), "middle_block": self._down, "output_blocks": self._down + 1 + int(place)}[
            half
        ]

    @property
    def _down(self) -> int:
        config = self.source.config("unet")
        down: int = len(config["block_out_channels"]) * (config["layers_per_block"] + 1)
        return down

    def ldm_path(self, path: str) -> str:
        """A module's path in the original code."""
        config = self.source.config("unet")
        kinds = config.get("up_block_types", UP_BLOCKS)
        return ldm_path(path, config["layers_per_block"], tuple("CrossAttn" in kind for kind in kinds))

    def kohya_name(self, part: str, path: str) -> str:
        """See `Model.kohya_name`."""
        if part == "unet":
            return f"lora_unet_{path.replace('.', '_')}"
        return f"{self.text_prefix(part)}_text_model_{path.removeprefix('text_model.').replace('.', '_')}"

    def text_prefix(self, part: str) -> str:
        """What the names of a text encoder's modules begin with."""
        return "lora_te"


def _is_pointwise(layer: torch.nn.Module) -> bool:
    return getattr(layer, "kernel_size", (1, 1)) == (1, 1)
