"""The options of a training: the knobs of the `train` stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from lorapipe.formats import EMBEDDING
from lorapipe.models import Role, TextReading
from lorapipe.pipeline.artifacts import Dataset, Weights
from lorapipe.spec import Duration, Source, Spec, knobs, param, plain
from lorapipe.training.adapter_layers.together import Together
from lorapipe.training.adapter_layers.word_embedding import WordEmbedding
from lorapipe.training.adapters import Adapter, Attachable
from lorapipe.training.caption_augment import Captioning
from lorapipe.training.device import Precision
from lorapipe.training.interval import Interval
from lorapipe.training.losses import Loss
from lorapipe.training.noise_options import NoiseOptions
from lorapipe.training.optimizers import Optimizer
from lorapipe.training.schedulers import Scheduler
from lorapipe.training.subjects import Difficulty, Subject
from lorapipe.training.weightings import Weighting

Graphs: TypeAlias = Literal["auto", "on", "off"]
Checkpointing: TypeAlias = Literal["auto", True, False]
RATES: Mapping[str, Role] = {
    "unet_lr": "denoiser",
    "text_encoder_lr": "text_encoder",
    "text_encoder_2_lr": "text_encoder",
    "embedding_lr": "embedding",
}
"""Options that are learning rates → role of the parts that they are for."""
LATER = ("embedding", "embedding_lr", "ema", "stop")
"""Options that older files lack: where they are unset, they are left out of the metadata."""
DATASETS = ("dataset", "more_datasets", "regularisation")
"""The options that are results of other stages."""
APART = (*DATASETS, "until")
"""Options that are no part of a training's record: a training that ends before is the beginning of the whole one."""


def rate_options(roles: Mapping[str, Role]) -> dict[str, str]:
    """Return part → its option of `RATES`, with `embedding` for a trained word; `roles` is `Model.roles`."""
    encoders = [part for part, role in roles.items() if role == "text_encoder"]
    names = {part: "unet_lr" if part not in encoders else "text_encoder_lr" for part in roles}
    return names | dict.fromkeys(encoders[1:], "text_encoder_2_lr") | {EMBEDDING: "embedding_lr"}


@dataclass(frozen=True)
class TrainingOptions(Spec):
    """All options of a training."""

    withdrawn: ClassVar[Mapping[str, str]] = {
        "compile": "Remove it: compiled steps were slower in every measurement. graphs: auto is what makes them faster."
    }

    dataset: Dataset = param(help="the pictures to train on: a prepare stage")
    more_datasets: tuple[Dataset, ...] = param(
        (),
        "more datasets to train on, each prepared with its own settings: [$closeups, $at768]. For several folders, or one "
        "folder at several resolutions",
    )
    regularisation: Dataset | None = param(
        None,
        "pictures of the class (a prepare stage: woman, not penny), used as often as the others, so that training changes "
        "the subject and not the class; for few or poor pictures captioned with keywords only",
        kohya=("reg_data_dir", "is_reg"),
    )
    prior_loss_weight: float = param(
        1.0, "loss weight of a regularisation picture, relative to one of the subject", ge=0, le=10, rare=True
    )
    generated_weight: float = param(
        1.0,
        "loss weight of a picture that a synthesize stage has made, relative to a true one; 0.5 trusts them half as much",
        ge=0,
        le=10,
        rare=True,
    )
    adapter: Adapter = param(
        Adapter.default("lora"), "what is trained: its kind, rank and alpha", kohya=("network_module", "network_args")
    )
    embedding: WordEmbedding | None = param(
        None,
        "a word that is trained together with the adapter (pivotal tuning): {trigger: penny, vectors: 2, "
        "init: woman}. To train a word alone, write adapter: {type: embedding, trigger: penny}",
    )
    optimizer: Optimizer = param(
        Optimizer.default("adamw"),
        "the optimizer: adamw needs a good learning rate, prodigy finds it and takes more memory",
        kohya=("optimizer_type",),
    )
    scheduler: Scheduler = param(
        Scheduler.default("constant"),
        "how the learning rate changes over the training: constant for prodigy and similar ones, cosine_with_restarts for "
        "the others",
        kohya=("lr_scheduler", "lr_scheduler_type", "lr_scheduler_args"),
    )
    loss: Loss = param(
        Loss.default("mse"), "the loss function; the base models were trained with mse", kohya=("loss_type",)
    )
    unet_lr: float | None = param(
        None,
        "learning rate of the denoiser (U-Net), the most sensitive setting; empty: the optimizer's default (adamw 1e-4, "
        "prodigy 1.0). Noise or repeated parts in the pictures: lower it; missing detail: raise it; 0 does not train it",
        ge=0,
        le=10,
        kohya=("learning_rate",),
    )
    text_encoder_lr: float | None = param(
        None,
        "learning rate of the text encoder, well below unet_lr; empty: the optimizer's default (adamw 5e-5, prodigy "
        "1.0). Unwanted things appear: lower it; only strong prompts work: raise it; 0 does not train the text encoder, "
        "which is faster and needs less memory",
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
        rare=True,
    )
    embedding_lr: float | None = param(
        None,
        "learning rate of the vectors of a word (adapter: embedding, or embedding beside an adapter), far above the others; "
        "empty: the optimizer's default (adamw 5e-3, prodigy 1.0). Pictures that ignore the rest of the prompt: lower it",
        ge=0,
        le=10,
        kohya=("learning_rate",),
        rare=True,
    )
    steps: Duration = param(
        Duration(1000),
        "length of the training: 1000, or '10 epochs' (an epoch uses every picture once, times its repeats). About 1000 for "
        "a character, 3000 for a style",
        kohya=("max_train_steps", "max_train_epochs"),
    )
    until: Duration | None = param(
        None,
        "end after so many steps, in the midst of a training whose schedule is that of `steps`; it keeps its state, and a "
        "training with the same settings goes on from it (resume_from). Empty: train all steps",
        rare=True,
    )
    resume_from: Weights | None = param(
        None,
        "a training with the same settings that has ended before (until), to go on from. The result is the same as without, "
        "bit for bit on a CPU, and on a GPU with deterministic; empty: from the start",
        content=False,
    )
    start_from: Source | None = param(
        None,
        "a LoRA file (kohya's keys, .safetensors) to continue from, of the same base, kind and ranks; empty: from scratch",
        shelf="loras",
        kohya=("network_weights",),
    )
    stop: Literal["early"] | None = param(
        None,
        "early: stop where later steps are worse, by the loss on fixed pictures: held-out ones (eight are needed), training "
        "pictures, and pictures of the base without the trigger word. Costs up to a fifth more time; snapshots stay. Empty: "
        "train all steps",
    )
    snapshots: Interval = param(
        Interval(10, is_usual=True),
        "how often to save the adapter, to choose the best of them later: 10 (times, evenly), 'every 100 steps', "
        "'every 2 epochs'. The end is always saved; of a fine-tune, whose snapshots are as large as a base, the end alone "
        "where nothing is written here",
        kohya=("save_every_n_epochs", "save_every_n_steps", "save_n_epoch_ratio"),
    )
    batch: int = param(
        1,
        "pictures in one forward pass; more makes training steadier and takes more memory",
        ge=1,
        le=256,
        kohya=("train_batch_size", "batch_size"),
    )
    accumulation: int = param(
        1,
        "batches per optimizer step: a larger batch without its memory; a step takes as many times longer",
        ge=1,
        le=1024,
        kohya=("gradient_accumulation_steps",),
        rare=True,
    )
    ema: float | None = param(
        None,
        "save, preview and judge the exponential moving average of the weights in place of the last: 0.99 for some hundred "
        "steps, 0.999 for thousands, 0.9999 for tens of thousands; steadier, and takes 4 bytes for each trained number. "
        "Empty: the weights themselves",
        gt=0,
        lt=1,
        rare=True,
    )
    weighting: Weighting = param(
        Weighting.default("min_snr"),
        "how much each noise level counts in the loss: min_snr with its gamma of 5 is recommended, none is the plain loss",
    )
    noise: NoiseOptions = param(NoiseOptions, "noise offset, multires noise, ip noise gamma, range of timesteps")
    clip_skip: int = param(
        1,
        "layer of the text encoder that is used, counted from the end; 2 for anime bases descended from NAI",
        ge=1,
        le=12,
    )
    captions: Captioning = param(Captioning, "caption augmentation: shuffle, keep_tokens, dropout, wildcards, prefix")
    max_tokens: Literal[75, 150, 225] = param(
        75,
        "tokens (words or parts of words) at which captions are truncated; 150 or 225 for long captions",
        kohya=("max_token_length",),
        rare=True,
    )
    max_grad_norm: float = param(
        1.0,
        "gradient clipping: the largest norm of the gradients, so that one odd picture cannot ruin the training; 0 off",
        ge=0,
        rare=True,
    )
    scale_weight_norms: float = param(
        0.0,
        "largest norm of a module's update, because modules with large norms interfere when LoRAs are combined: 1 is "
        "recommended, up to 10 is a weaker limit, 0 off",
        ge=0,
        le=1000,
        rare=True,
    )
    precision: Precision = param(
        "auto",
        "data type of the base; trained weights are fp32 (for a fine-tune, adapter.weights). auto: bf16 on a GPU that "
        "supports it, else fp16; fp32 on a CPU. fp32 takes twice the memory",
        kohya=("mixed_precision", "full_fp16", "full_bf16"),
        rare=True,
    )
    gradient_checkpointing: Checkpointing = param(
        "auto",
        "recompute activations in the backward pass instead of storing them. true: all, a fifth of the memory, 1.3 times "
        "slower; false: none; auto: those of as few blocks as make the training fit the GPU's memory by the plan's "
        "estimate, and none on a CPU or where the estimate is unknown",
        same_result=(False,),
    )
    graphs: Graphs = param(
        "auto",
        "replay forward and backward pass as a CUDA graph, captured once for each shape of a batch: a fast GPU no longer "
        "waits for Python. auto: on an NVIDIA GPU, where the step can be captured; on: an error where it cannot; off: no "
        "graphs, which takes less memory where buckets are many",
        content=False,
        rare=True,
    )
    deterministic: bool = param(
        False,
        "choose kernels that give the same bits each time on the same GPU, so that a stopped and continued training ends "
        "with the same file; slower. A CPU does without",
        content=False,
        rare=True,
    )
    seed: int = param(
        0, "random seed: another seed gives another training of the same kind; change it last", ge=0, le=2**32 - 1
    )
    subject: Subject | None = param(
        None,
        "what is trained: character, style, concept or vehicle. It does not change the result: check and plan compare the "
        "settings with what suits it",
        content=False,
        rare=True,
    )
    difficulty: Difficulty | None = param(
        None,
        "how difficult the subject is, from A (a plain person) to I (eldritch), for the same purpose: docs/rules.md",
        content=False,
        rare=True,
    )
    allow: tuple[str, ...] = param(
        (),
        "rules that check and plan shall not mention for this training: [rank_for_pictures]",
        content=False,
        rare=True,
    )
    preview_prompts: tuple[str, ...] = param(
        (),
        "prompts of pictures to generate during training; they do not change the result",
        content=False,
        kohya=("sample_prompts",),
    )
    previews: Interval = param(
        Interval(5),
        "how often to generate previews, written like snapshots",
        content=False,
        kohya=("sample_every_n_steps", "sample_every_n_epochs"),
    )

    def __post_init__(self) -> None:
        """Take the adapter's usual number of snapshots where none is given."""
        if self.snapshots.is_usual:
            object.__setattr__(self, "snapshots", Interval(self.adapter.usual_snapshots, is_usual=True))

    def rates(self, roles: Mapping[str, Role]) -> dict[str, float]:
        """Return the learning rate of each trained part of a model; `roles` is `Model.roles`."""
        names = rate_options(roles)
        used = self.rates_in_use
        return {part: rate for part, name in names.items() if RATES[name] in used and (rate := self.rate(name)) > 0}

    @property
    def rates_in_use(self) -> frozenset[str]:
        """Roles of the trained parts."""
        return frozenset([*self.adapter.trains, *(["embedding"] if self.embedding else [])])

    @property
    def trained(self) -> Attachable:
        """Adapter, with the embedding if there is one."""
        return Together((self.adapter, self.embedding)) if self.embedding else self.adapter

    @property
    def words(self) -> tuple[WordEmbedding, ...]:
        """Words that are trained."""
        return tuple(each for each in (self.adapter, self.embedding) if isinstance(each, WordEmbedding))

    def rates_by_option(self) -> dict[str, float]:
        """Return the learning rates above 0 by option, without regard to the base."""
        names = [name for name in RATES if RATES[name] in self.rates_in_use]
        if self.text_encoder_2_lr is None and "text_encoder_2_lr" in names:
            names.remove("text_encoder_2_lr")
        return {name: rate for name in names if (rate := self.rate(name)) > 0}

    def rate(self, option: str) -> float:
        """Return the effective learning rate of an option of `RATES`."""
        given: float | None = getattr(self, option)
        if given is None and option == "text_encoder_2_lr":
            return self.rate("text_encoder_lr")
        return self.usual_rate(option) if given is None else given

    def usual_rate(self, option: str) -> float:
        """Return the optimizer's default rate for the parts of an option of `RATES`."""
        usual = self.optimizer.usual_rate(RATES[option])
        is_of_adapter = RATES[option] in self.adapter.trains  # and not of a word beside it
        return usual * self.adapter.rate_factor if is_of_adapter and not self.optimizer.adaptive else usual

    @property
    def reading(self) -> TextReading:
        """How captions are encoded."""
        return TextReading(self.max_tokens, self.clip_skip, self.captions.weighted)

    def settings(self, dtype: str) -> dict[str, object]:
        """Return the options that affect the result as plain values, with the resolved precision `dtype`."""
        chosen = [knob.name for knob in knobs(type(self)) if knob.param.content and knob.name not in APART]
        chosen = [name for name in chosen if name not in LATER or getattr(self, name) is not None]
        settings = {name: plain(getattr(self, name)) for name in chosen} | {"precision": dtype}
        settings["gradient_checkpointing"] = (
            self.gradient_checkpointing is True
        )  # auto depends on the GPU, not its result
        return settings | ({"start_from": self.start_from.path.name} if self.start_from else {})

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """All datasets, regularisation last."""
        return (self.dataset, *self.more_datasets, *([self.regularisation] if self.regularisation else []))
