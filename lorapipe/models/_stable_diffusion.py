"""The base class of the Stable Diffusion families: knobs, sizes, checkpoint detection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lorapipe.errors import InputError, Problem
from lorapipe.models import Activations, Family, Footprint, Pair, TensorPlace, TextReading, _checkpoint_problems
from lorapipe.models._diffusers_folder import COPY, read_json
from lorapipe.models._missing_tensors import ODD_CONFIGURATION, shapes_of
from lorapipe.models._parts import Parts, footprint, halvings
from lorapipe.models._unet import LatentDiffusion
from lorapipe.spec import Source, param

if TYPE_CHECKING:
    from lorapipe.models._weight_files import Folder, SingleFile

SCHEDULE: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "prediction_type": "epsilon",
}
"""The noise schedule of all Stable Diffusion models (Rombach et al. 2022)."""
VAE: Mapping[str, Any] = {
    "sample_size": 512,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "latent_channels": 4,
    "scaling_factor": 0.18215,
}
"""The VAE of all Stable Diffusion models, except for its scale."""
CLIP_L: Mapping[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
}
"""The text encoder of SD1.x, and SDXL's first: CLIP ViT-L (Radford et al. 2021)."""
SINGULAR = "zero terminal SNR needs v-prediction: the last timestep is pure noise, so predicting ε teaches nothing."


@dataclass(frozen=True)
class StableDiffusion(Family):
    """A U-Net, a VAE and CLIP text encoders, as a diffusers folder or as a single file."""

    vae: Source | None = param(
        None,
        "another VAE for encoding and decoding: a file in the original or diffusers' layout, or a diffusers folder",
        shelf="vae",
    )
    config: Source | None = param(
        None,
        "a diffusers folder whose configuration and tokenizer describe a single-file checkpoint; usually not needed",
        rare=True,
    )
    prediction: Literal["auto", "epsilon", "v_prediction"] = param(
        "auto",
        "what the base's network predicts: the noise (epsilon) or the velocity (v_prediction). auto reads it from the "
        "checkpoint; set it for v-prediction merges that do not record it. If pictures are pure noise or flat colour, it "
        "is the other one",
        kohya=("v_parameterization",),
        rare=True,
    )
    zero_terminal_snr: bool | None = param(
        None,
        "whether the base was trained with a schedule that ends in pure noise, which allows very dark and very bright "
        "pictures; only for v-prediction. Empty: read from the checkpoint (Lin et al. 2023, arXiv:2305.08891)",
        rare=True,
    )

    known: ClassVar[Mapping[str, Mapping[str, Any]]]
    """The published configuration of each part, for single files, which contain none."""
    model: ClassVar[type[LatentDiffusion]] = LatentDiffusion
    """The class of the loaded base."""
    activations: ClassVar[Activations]
    """The activations of a base with the published configuration."""
    kind: ClassVar[str]
    """Name of a single file of the family in messages; see `_model_detection`."""

    def problems(self) -> Iterator[Problem]:
        if self.zero_terminal_snr and self.prediction == "epsilon":
            cure = "Remove it, or set prediction: v_prediction if the base is one."
            yield Problem(SINGULAR, cure=cure, path=("zero_terminal_snr",))
        if not self.is_pending:
            yield from _checkpoint_problems.problems(self)

    def problems_of_captions(self) -> Iterator[Problem]:
        if not self.is_pending and (problem := _checkpoint_problems.no_vocabulary(self)):
            yield problem

    denoiser: ClassVar[str] = LatentDiffusion.denoiser
    lora_module: ClassVar[str] = "networks.lora"
    reads_other_layers: ClassVar[bool] = True
    """Whether the base supports `clip_skip`, another layer of the text encoder than the last."""

    @property
    def text_encoders(self) -> tuple[str, ...]:
        return self.model.text_encoders

    @property
    def trainable(self) -> tuple[str, ...]:
        return self.model.trainable

    def objections(self, reading: TextReading) -> Iterator[Problem]:
        if reading.clip_skip != 1 and not self.reads_other_layers:
            what = f"{self.name} always uses the last layer but one of its text encoder."
            yield Problem(what, cure="Remove clip_skip; it is for SD1.x.", path=("clip_skip",))

    def native_size(self) -> int:
        given = self._part("unet").get("sample_size") or self.known["unet"]["sample_size"]
        size = max(given) if isinstance(given, list) else given
        if not isinstance(size, int) or not 0 < size <= 4096:
            raise self._invalid("unet", "sample_size", given)
        return size * self._halvings("vae")

    def size_step(self) -> int:
        """Return the VAE's factor times the U-Net's: each level but the last halves the sides."""
        return self._halvings("vae") * self._halvings("unet")

    def latent_shape(self, size: Pair) -> tuple[int, int, int]:
        factor = self._halvings("vae")
        return self._part("vae").get("latent_channels", 4), size[1] // factor, size[0] // factor

    def footprint(self) -> Footprint | None:
        configs = {part: self._part(part) for part in self.trainable}
        try:
            shapes = {part: shapes_of(self.model.texts, part, config) for part, config in configs.items()}
            known = {part: tensors for part, tensors in shapes.items() if tensors is not None}
            return footprint(self.model, configs, known, self._activations()) if len(known) == len(shapes) else None
        except ODD_CONFIGURATION:  # the check of the checkpoint reports it
            return None

    def _activations(self) -> Activations | None:
        """Return the measured activations, if this base's U-Net has the published shape."""
        shape = ("block_out_channels", "layers_per_block", "cross_attention_dim")
        ours, published = self._part("unet"), self.known["unet"]
        return self.activations if all(ours.get(name) == published[name] for name in shape) else None

    def prediction_type(self) -> str:
        source = self._source()
        described = source.config("scheduler", "scheduler_config.json")
        return str({**described, **self._schedule(source)}.get("prediction_type", "epsilon"))

    def module_names(self) -> dict[str, tuple[str, str]]:
        found = self.footprint()
        if found is None:
            return super().module_names()
        source = self._source() if not self.is_pending else self._published()
        return self.model.of_shapes(source, found.inner, found.outer).kohya_names()

    def tensor_places(self) -> dict[tuple[str, str], TensorPlace]:
        from lorapipe.models import _tensor_places

        path, texts = self.checkpoint.path, self.model.texts
        configs = {part: self._part(part) for part in ("unet", "vae", *(text.name for text in texts))}
        return (_tensor_places.in_parts if path.is_dir() else _tensor_places.in_file)(path, texts, configs)

    def load(self, device: str, dtype: str = "fp32") -> LatentDiffusion:
        source = self._source()
        parts = Parts(source, self.vae.path if self.vae else None, self._schedule(source))
        return self.model(parts, device, dtype)

    def said_by(self, source: SingleFile) -> dict[str, Any]:
        """Return what a single file records of its schedule, as entries of a scheduler's configuration."""
        return {}

    # ------------------------------------------------------------------------------------------------------ the source

    def _halvings(self, part: str) -> int:
        """Return the downscaling factor of a part."""
        levels = self._part(part).get("block_out_channels")
        if not isinstance(levels, (list, tuple)) or not 0 < len(levels) <= 8:
            raise self._invalid(part, "block_out_channels", levels)
        return halvings({"block_out_channels": levels})

    def _invalid(self, part: str, name: str, value: object) -> InputError:
        what = f"has an invalid configuration: {name} of {part} is {str(value)[:40]}."
        return InputError(what, where=str(self.checkpoint.path), cure=COPY)

    def _part(self, part: str) -> Mapping[str, Any]:
        """Return a part's configuration, or the published one while there is no base yet; imports nothing heavy."""
        if self.is_pending and not self.config:
            return self.known[part]
        described = self.config.path if self.config else self.checkpoint.path
        if not described.is_dir():
            return self.known[part]
        return read_json(described / part / "config.json")

    def _source(self) -> Folder | SingleFile:
        from lorapipe.models._weight_files import Folder, SingleFile

        path = self.checkpoint.path
        if problem := _checkpoint_problems.mismatch(self):
            raise InputError(replace(problem, where=str(path)))
        if path.is_dir():
            return Folder(path)
        return SingleFile(path, self.known, self.model.texts, Folder(self.config.path) if self.config else None)

    def _published(self) -> SingleFile:
        """Return the published configuration as a source, for a base that does not exist yet."""
        from lorapipe.models._weight_files import Folder, SingleFile

        return SingleFile(Path(), self.known, self.model.texts, Folder(self.config.path) if self.config else None)

    def _schedule(self, source: Folder | SingleFile) -> dict[str, Any]:
        """Return overrides of the scheduler's configuration: from the knobs, else from the file."""
        from lorapipe.models._weight_files import Folder

        described = source.config("scheduler", "scheduler_config.json")
        found = {} if isinstance(source, Folder) or source.described else self.said_by(source)
        if self.prediction != "auto":
            found["prediction_type"] = self.prediction
        if self.zero_terminal_snr is not None:
            found["rescale_betas_zero_snr"] = self.zero_terminal_snr
        whole = {**described, **found}
        if whole.get("rescale_betas_zero_snr"):
            if whole.get("prediction_type") != "v_prediction":
                raise InputError(SINGULAR, where="zero_terminal_snr", cure="Write prediction: v_prediction, if it is.")
            found["timestep_spacing"] = "trailing"  # sampling must begin at the last timestep
        return found
