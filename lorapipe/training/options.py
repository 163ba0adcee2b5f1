"""The options of a training, which are the knobs of the `train` stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lorapipe.models import Role, TextReading
from lorapipe.pipeline.artifacts import Dataset
from lorapipe.spec import Duration, Source, Spec, knobs, param, plain
from lorapipe.training.adapters import Adapter
from lorapipe.training.caption_augment import Captioning
from lorapipe.training.device import Precision
from lorapipe.training.interval import Interval
from lorapipe.training.losses import Loss
from lorapipe.training.noise_options import NoiseOptions
from lorapipe.training.optimizers import Optimizer
from lorapipe.training.schedulers import Scheduler
from lorapipe.training.weightings import Weighting

RATES: Mapping[str, Role] = {
    "unet_lr": "denoiser",
    "text_encoder_lr": "text_encoder",
    "text_encoder_2_lr": "text_encoder",
}
"""The options that are learning rates, and the role of the parts that each is for."""
DATASETS = ("dataset", "more_datasets", "regularisation")
"""The options that are other stages' results."""


@dataclass(frozen=True)
class TrainingOptions(Spec):
    """Everything that a user chooses about a training."""

    dataset: Dataset = param(help="the pictures to train on: a prepare stage")
    more_datasets: tuple[Dataset, ...] = param(
        (),
        "further pictures to train on, each prepared with settings of its own: [$closeups, $at768]. Several folders, or one "
        "at several resolutions",
    )
    regularisation: Dataset | None = param(
        None,
        "pictures of the class (a prepare stage: woman, not penny), shown as often as the others, so that the class is not "
        "changed with the subject; for few or poor pictures with keywords only",
        kohya=("reg_data_dir", "is_reg"),
    )
    prior_loss_weight: float = param(
        1.0, "how much a regularisation picture counts beside one of the subject", ge=0, le=10
    )
    adapter: Adapter = param(
        Adapter.default("lora"), "what is trained: its kind, rank and alpha", kohya=("network_module", "network_args")
    )
    start_from: Source | None = param(
        None,
        "a LoRA file (kohya's keys, .safetensors) to go on from, of the same base, kind and ranks; empty: from nothing",
        shelf="loras",
        kohya=("network_weights",),
    )
    optimizer: Optimizer = param(
        Optimizer.default("adamw"),
        "how it learns: adamw needs a good rate, prodigy finds it and takes more memory",
        kohya=("optimizer_type",),
    )
    scheduler: Scheduler = param(
        Scheduler.default("constant"),
        "how the rate changes over the training: constant for prodigy and its kin, cosine_with_restarts for the others",
        kohya=("lr_scheduler", "lr_scheduler_type", "lr_scheduler_args"),
    )
    loss: Loss = param(
        Loss.default("mse"), "what counts as an error; mse is what the base models were made with", kohya=("loss_type",)
    )
    unet_lr: float | None = param(
        None,
        "learning rate of the U-Net, the most sensitive knob; empty: the optimizer's usual (adamw 1e-4, prodigy 1.0). "
        "Noise or repeated parts in the pictures: lower it; missing detail: raise it; 0 leaves the U-Net as it is",
        ge=0,
        le=10,
        kohya=("learning_rate",),
    )
    text_encoder_lr: float | None = param(
        None,
        "learning rate of the text encoder, well below the U-Net's; empty: the optimizer's usual (adamw 5e-5, prodigy "
        "1.0). Unwanted things appear: lower it; only strong prompts work: raise it; 0 leaves the text encoder as it "
        "is, which is faster and needs less memory",
        ge=0,
        le=10,
        kohya=("learning_rate",),
    )
    text_encoder_2_lr: float | None = param(
        None,
        "learning rate of SDXL's second text encoder; empty: as text_encoder_lr",
        ge=0,
        le=10,
        kohya=("text_encoder_lr2",),
    )
    steps: Duration = param(
        Duration(1000),
        "how long: 1000, or '10 epochs' (an epoch shows every picture once, times its repeats). About 1000 for a "
        "character, 3000 for a style",
        kohya=("max_train_steps", "max_train_epochs"),
    )
    snapshots: Interval = param(
        Interval(10),
        "how often to keep the adapter as it is, to choose the best of them: 10 (so many, evenly), 'every 100 steps', "
        "'every 2 epochs'. The end is always kept",
        kohya=("save_every_n_epochs", "save_every_n_steps", "save_n_epoch_ratio"),
    )
    batch: int = param(
        1,
        "pictures at once; more is steadier and takes more memory",
        ge=1,
        le=256,
        kohya=("train_batch_size", "batch_size"),
    )
    accumulation: int = param(
        1,
        "batches added up to one step: a larger batch without its memory, so many times as slow",
        ge=1,
        le=1024,
        kohya=("gradient_accumulation_steps",),
    )
    weighting: Weighting = param(
        Weighting.default("min_snr"),
        "how much each noise level counts: min_snr with its gamma of 5 is recommended, none is the plain loss",
    )
    noise: NoiseOptions = param(
        NoiseOptions, "what is added to the pictures: noise offset, multires noise, ip noise gamma"
    )
    clip_skip: int = param(
        1, "layer of the text encoder that is read, from its end; 2 for anime bases of the NAI lineage", ge=1, le=12
    )
    captions: Captioning = param(
        Captioning, "how captions vary: shuffled, some tags kept, dropout, wildcards, a prefix"
    )
    max_tokens: Literal[75, 150, 225] = param(
        75,
        "most tokens (words or parts of them) of a caption that are read; 150 or 225 for long captions",
        kohya=("max_token_length",),
    )
    max_grad_norm: float = param(
        1.0, "gradients longer than this are shortened to it, so that one odd picture cannot spoil it all; 0 off", ge=0
    )
    scale_weight_norms: float = param(
        0.0,
        "largest norm of a module's update, so that hot spots do not spoil mixing with other LoRAs: 1 is recommended, up "
        "to 10 is weaker, 0 off",
        ge=0,
        le=1000,
    )
    precision: Precision = param(
        "auto",
        "how the frozen base is held; what is trained is always fp32. auto: bf16 on a GPU that has it, else fp16; fp32 "
        "on a CPU. fp32 takes twice the memory",
        kohya=("mixed_precision", "full_fp16", "full_bf16"),
    )
    gradient_checkpointing: bool = param(
        False, "compute half of everything twice instead of remembering it: a fifth of the memory, 1.3 times as slow"
    )
    compile: bool = param(
        False,
        "let torch compile the U-Net: a fifth to a third faster on a GPU, after a minute or so for each bucket's size; for "
        "long trainings with few buckets",
        kohya=("torch_compile",),
    )
    seed: int = param(
        0, "another seed is another training of the same kind; the last thing to change", ge=0, le=2**32 - 1
    )
    preview_prompts: tuple[str, ...] = param(
        (),
        "pictures to paint on the way, to watch it learn; they change nothing",
        content=False,
        kohya=("sample_prompts",),
    )
    previews: Interval = param(
        Interval(5),
        "how often to paint them, as in snapshots",
        content=False,
        kohya=("sample_every_n_steps", "sample_every_n_epochs"),
    )

    def rates(self, roles: Mapping[str, Role]) -> dict[str, float]:
        """Learning rate of each of a model's parts (`Model.roles`); a part that is not trained is left out."""
        encoders = [part for part, role in roles.items() if role == "text_encoder"]
        names = {part: "unet_lr" if part not in encoders else "text_encoder_lr" for part in roles}
        names |= dict.fromkeys(encoders[1:], "text_encoder_2_lr")
        return {part: rate for part, name in names.items() if (rate := self.rate(name)) > 0}

    def rates_by_option(self) -> dict[str, float]:
        """What `rates` comes to, by the names of the options, whatever the base is; those of 0 are left out."""
        names = RATES if self.text_encoder_2_lr is not None else ("unet_lr", "text_encoder_lr")
        return {name: rate for name in names if (rate := self.rate(name)) > 0}

    def rate(self, option: str) -> float:
        """The learning rate that an option of `RATES` comes to."""
        given: float | None = getattr(self, option)
        if given is None and option == "text_encoder_2_lr":
            return self.rate("text_encoder_lr")
        return self.usual_rate(option) if given is None else given

    def usual_rate(self, option: str) -> float:
        """The optimizer's usual rate for the parts that an option of `RATES` is for."""
        return self.optimizer.usual_rate(RATES[option])

    @property
    def reading(self) -> TextReading:
        """How captions are read."""
        return TextReading(self.max_tokens, self.clip_skip, self.captions.weighted)

    def settings(self, dtype: str) -> dict[str, object]:
        """The options that decide the result, in document form, with the precision that `auto` came to."""
        chosen = [knob.name for knob in knobs(type(self)) if knob.param.content and knob.name not in DATASETS]
        settings = {name: plain(getattr(self, name)) for name in chosen} | {"precision": dtype}
        return settings | ({"start_from": self.start_from.path.name} if self.start_from else {})

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """All datasets; the regularisation is the last."""
        return (self.dataset, *self.more_datasets, *([self.regularisation] if self.regularisation else []))
