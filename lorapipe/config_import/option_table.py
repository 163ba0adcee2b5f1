"""The options of kohya's sd-scripts, and what each becomes here: the one table of `lorapipe import` and docs/import.md.

`used` options have a setting of the same meaning at `path`; `mapped` ones are translated by a module of
`lorapipe.config_import.mapping`, and `becomes` says into what. Options that always happen here, that did nothing in the
original, or that are not offered have a reason. `network_args.conv_dim` is an argument inside `network_args`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from lorapipe.config_import.configuration import Kind
from lorapipe.kohya_flags import SYNONYMS, WITHOUT_SETTING

Type = Literal["flag", "whole", "number", "text", "list"]


@dataclass(frozen=True)
class Row:
    """What an option becomes. `path` is the setting that takes its value as it is, `becomes` the same in words."""

    name: str
    type: Type
    kind: Kind
    becomes: str
    path: str = ""


def _used(type: Type, *pairs: tuple[str, str]) -> Iterator[Row]:
    for name, path in pairs:
        yield Row(name, type, "used", f"`{path}`", path)


def _mapped(type: Type, *pairs: tuple[str, str]) -> Iterator[Row]:
    for name, becomes in pairs:
        yield Row(name, type, "translated", becomes)


def _with(kind: Kind, reason: str, type: Type, names: str) -> Iterator[Row]:
    for name in names.split():
        yield Row(name, type, kind, reason)


def _always(type: Type, names: str) -> Iterator[Row]:
    for name in names.split():
        yield Row(name, type, "translated", WITHOUT_SETTING[SYNONYMS.get(name, name)])


LAUNCHER = "accelerate."
"""Prefix of options of `accelerate launch`."""
DEVICES = "--device of `lorapipe run` chooses devices; batches come from the cache"
HUB = "nothing is uploaded or downloaded"
SD_ONLY = "it is for other families of models than SD1.x, SD2 and SDXL"
OWN_LOG = "every training writes TensorBoard's files, metrics.jsonl and metrics.csv, wherever they go"


def _rows() -> Iterator[Row]:
    yield from _of_the_base()
    yield from _of_the_network()
    yield from _of_the_optimizer()
    yield from _of_the_pictures()
    yield from _of_the_objective()
    yield from _of_saving()
    yield from _of_the_machine()


def _of_the_base() -> Iterator[Row]:
    yield from _mapped("text", ("pretrained_model_name_or_path", "`base.checkpoint`"), ("vae", "`base.vae`"))
    yield from _mapped("flag", ("v2", "`base.family: sd2`"), ("v_parameterization", "`base.prediction: v_prediction`"),
                       ("zero_terminal_snr", "`base.zero_terminal_snr`"), ("sdxl", "`base.family: sdxl`"))  # fmt: skip
    yield from _always("flag", "no_half_vae")
    yield from _with(
        "translated", "nothing is downloaded: the base's own vocabulary is used", "text", "tokenizer_cache_dir"
    )
    yield from _with("refused", WITHOUT_SETTING["base_weights"], "list", "base_weights base_weights_multiplier")
    yield from _with("translated", "checkpoints are memory-mapped", "flag", "disable_mmap_load_safetensors")


def _of_the_network() -> Iterator[Row]:
    yield from _mapped("text", ("network_module", "`adapter`"))
    yield from _mapped("whole", ("network_dim", "`adapter.rank` (4 without it)"))
    yield from _mapped("number", ("network_alpha", "`adapter.alpha` (1 without it; 0 is the rank)"),
                       ("network_dropout", "`adapter.dropout`"))  # fmt: skip
    yield from _mapped("text", ("network_weights", "`start_from`"))
    yield from _always("flag", "network_train_unet_only network_train_text_encoder_only dim_from_weights")
    yield from _used("number", ("scale_weight_norms", "train.scale_weight_norms"))
    yield from _mapped("text", *((f"network_args.{name}", f"`adapter.{knob}`") for name, knob in NETWORK_ARGS.items()))
    yield from _mapped("text", ("network_args.algo", "`adapter`, for lycoris.kohya"),
                       *((f"network_args.{name}", "`adapter.block_rates`") for name in BLOCK_RATES))  # fmt: skip
    yield from _always("text", "block_lr_zero_threshold")
    yield Row("network_args.block_lr_zero_threshold", "text", "translated", WITHOUT_SETTING["block_lr_zero_threshold"])
    reason = "files would not load elsewhere, or other programs misread them"
    yield from _with("refused", reason, "text", " ".join(f"network_args.{name}" for name in UNOFFERED_ARGS))


NETWORK_ARGS: Mapping[str, str] = {
    "conv_dim": "conv_rank", "conv_alpha": "conv_alpha", "block_dims": "block_ranks", "block_alphas": "block_alphas",
    "conv_block_dims": "conv_block_ranks", "conv_block_alphas": "conv_block_alphas", "rank_dropout": "rank_dropout",
    "module_dropout": "module_dropout", "dropout": "dropout", "loraplus_lr_ratio": "lora_plus",
    "loraplus_unet_lr_ratio": "lora_plus", "loraplus_text_encoder_lr_ratio": "lora_plus_text_encoder",
    "preset": "preset", "factor": "factor", "decompose_both": "decompose_both", "full_matrix": "full_matrix",
    "use_tucker": "tucker", "use_cp": "tucker", "use_conv_cp": "tucker", "dora_wd": "dora", "wd_on_output": "dora_axis",
    "rs_lora": "rs_lora", "train_norm": "norms", "block_size": "block_size", "constraint": "constraint",
    "train_on_input": "on_input", "include_patterns": "include", "exclude_patterns": "exclude",
    "network_reg_dims": "module_ranks",
}  # fmt: skip
"""Argument of a network → setting of the adapter."""
BLOCK_RATES = ("down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_lr")
UNOFFERED_ARGS = ("use_scalar", "unbalanced_factorization", "bypass_mode", "rescaled", "disable_conv_cp", "unit",
                  "network_reg_lrs")  # fmt: skip


def _of_the_optimizer() -> Iterator[Row]:
    yield from _mapped("text", ("optimizer_type", "`optimizer` (AdamW without it)"))
    yield from _always("flag", "use_8bit_adam use_lion_optimizer")
    yield from _mapped("text", ("optimizer_args.*", "settings of the optimizer, by its own names"))
    yield from _mapped("number", ("learning_rate", "the rate of parts without one of their own (2e-6 without it)"),
                       ("unet_lr", "`unet_lr`"))  # fmt: skip
    yield from _mapped("list", ("text_encoder_lr", "`text_encoder_lr`, a second number `text_encoder_2_lr`"))
    yield from _mapped("number", ("text_encoder_lr1", "`text_encoder_lr`"), ("text_encoder_lr2", "`text_encoder_2_lr`"),
                       ("learning_rate_te", "`text_encoder_lr`"), ("learning_rate_te1", "`text_encoder_lr`"),
                       ("learning_rate_te2", "`text_encoder_2_lr`"))  # fmt: skip
    yield from _mapped("flag", ("train_text_encoder", "`text_encoder_lr`, for fine_tune.py and sdxl_train.py"))
    yield from _used("number", ("max_grad_norm", "train.max_grad_norm"))
    yield from _mapped("text", ("lr_scheduler", "`scheduler` (constant without it)"),
                       ("lr_warmup_steps", "`scheduler.warmup`"), ("lr_scheduler_type", "`scheduler`"),
                       ("lr_scheduler_args.*", "refused: arguments of a scheduler of one's own"))  # fmt: skip
    yield from _mapped("number", ("lr_scheduler_num_cycles", "`scheduler.cycles` (1 without it)"),
                       ("lr_scheduler_power", "`scheduler.power` (1 without it)"), ("lr_decay_steps", "`scheduler.decay`"),
                       ("lr_scheduler_min_lr_ratio", "`scheduler.end`"))  # fmt: skip
    yield from _with("refused", "inverse_sqrt is not offered", "number", "lr_scheduler_timescale")
    yield from _mapped(
        "whole", ("max_train_steps", "`steps` (1600 without it)"), ("max_train_epochs", "`steps`, in epochs")
    )
    yield from _used("whole", ("gradient_accumulation_steps", "train.accumulation"))
    yield from _mapped("whole", ("train_batch_size", "`batch`"), ("batch_size", "`batch`"), ("seed", "`seed`"))
    yield from _mapped("flag", ("fused_backward_pass", "`adapter.fused_backward`, of a fine-tune"))


def _of_the_pictures() -> Iterator[Row]:
    yield from _mapped("text", ("train_data_dir", "`images`; its folders 10_penny give repeats and captions"),
                       ("image_dir", "`images`"), ("reg_data_dir", "`images` of the stage `regularisation`"),
                       ("dataset_config", "a prepare stage for each subset"), ("config_file", "read too"),
                       ("class_tokens", "`class_word`"), ("caption_extension", "`caption_extensions` (.caption without it)"),
                       ("resolution", "`resolution`"), ("face_crop_aug_range", "`augment.face_crop`"),
                       ("conditioning_data_dir", "`masks`"))  # fmt: skip
    yield from _with("refused", WITHOUT_SETTING["in_json"], "text", "in_json")
    yield from _with("refused", "captions are read from files beside the pictures", "text", "metadata_file")
    yield from _mapped("whole", ("num_repeats", "`repeats`"), ("dataset_repeats", "`repeats`"),
                       ("min_bucket_reso", "`min_bucket_reso` (256 without it)"), ("keep_tokens", "`captions.keep_tokens`"),
                       ("max_bucket_reso", "`max_bucket_reso` (1024 without it)"),
                       ("bucket_reso_steps", "`bucket_reso_steps` (64 without it)"),
                       ("caption_dropout_every_n_epochs", "`captions.dropout_epochs`"),
                       ("token_warmup_min", "`captions.token_warmup_min`"))  # fmt: skip
    yield from _mapped("flag", ("is_reg", "`regularisation`"), ("enable_bucket", "`enable_bucket` (off without it)"),
                       ("bucket_no_upscale", "`bucket_no_upscale`"), ("flip_aug", "`augment.flip`"),
                       ("color_aug", "`augment.colour`"), ("random_crop", "`augment.random_crop`"),
                       ("alpha_mask", "`alpha_mask`"), ("masked_loss", "`masks`"),
                       ("weighted_captions", "`captions.weighted`"), ("shuffle_caption", "`captions.shuffle`"),
                       ("enable_wildcard", "`captions.wildcards`, `caption_lines: each`"))  # fmt: skip
    yield from _mapped("number", ("caption_dropout_rate", "`captions.dropout`"),
                       ("caption_tag_dropout_rate", "`captions.tag_dropout`"), ("validation_split", "`held_out`"),
                       ("token_warmup_step", "`captions.token_warmup_step`"))  # fmt: skip
    yield from _mapped("text", ("caption_prefix", "`captions.prefix`"), ("caption_suffix", "`captions.suffix`"),
                       ("caption_separator", "`captions.separator`"), ("keep_tokens_separator", "`captions.keep_separator`"),
                       ("secondary_separator", "`captions.secondary_separator`"))  # fmt: skip
    yield from _always("flag", "cache_latents cache_latents_to_disk cache_text_encoder_outputs "
                               "cache_text_encoder_outputs_to_disk persistent_data_loader_workers")  # fmt: skip
    yield from _always("whole", "vae_batch_size max_data_loader_n_workers")
    yield from _always("text", "resize_interpolation")
    yield from _with(
        "translated", "the cache is keyed by content, and always right", "flag", "skip_cache_check cache_info"
    )
    yield from _with("translated", "captions are encoded as many as fit", "whole", "text_encoder_batch_size")
    yield from _with("no effect", "it shows pictures and trains nothing", "flag", "debug_dataset")
    yield from _with("refused", "datasets are folders here", "text", "dataset_class custom_attributes")
    yield from _with("refused", "it is for ControlNets and for nothing here", "number", "network_multiplier")


def _of_the_objective() -> Iterator[Row]:
    yield from _mapped("number", ("prior_loss_weight", "`prior_loss_weight`"), ("min_snr_gamma", "`weighting: min_snr`"),
                       ("v_pred_like_loss", "`weighting: v_like`"), ("noise_offset", "`noise.offset`"),
                       ("adaptive_noise_scale", "`noise.offset_adaptive`"), ("ip_noise_gamma", "`noise.perturbation`"),
                       ("multires_noise_discount", "`noise.multires_discount`"), ("huber_c", "`loss.c`"),
                       ("huber_scale", "`loss.scale`"))  # fmt: skip
    yield from _mapped("flag", ("debiased_estimation_loss", "`weighting: debiased`"),
                       ("scale_v_pred_loss_like_noise_pred", "`weighting: as_epsilon`"),
                       ("noise_offset_random_strength", "`noise.offset_random`"),
                       ("ip_noise_gamma_random_strength", "`noise.perturbation_random`"))  # fmt: skip
    yield from _mapped("text", ("loss_type", "`loss`"), ("huber_schedule", "`loss.schedule`"))
    yield from _mapped("whole", ("multires_noise_iterations", "`noise.multires_iterations`"))
    yield from _used(
        "whole", ("min_timestep", "train.noise.min_timestep"), ("max_timestep", "train.noise.max_timestep")
    )
    yield from _mapped("whole", ("clip_skip", "`clip_skip`"), ("max_token_length", "`max_tokens`"))


def _of_saving() -> Iterator[Row]:
    yield from _mapped("text", ("output_dir", "`to` of export"), ("output_name", "`to` of export"),
                       ("save_model_as", "`to` of export: always .safetensors"), ("save_precision", "`dtype` of export"),
                       ("sample_prompts", "`preview_prompts`"))  # fmt: skip
    yield from _mapped("whole", ("save_every_n_epochs", "`snapshots`"), ("save_every_n_steps", "`snapshots`"),
                       ("save_n_epoch_ratio", "`snapshots`"), ("sample_every_n_epochs", "`previews`"),
                       ("sample_every_n_steps", "`previews`"))  # fmt: skip
    yield from _always("whole", "save_last_n_epochs save_last_n_steps")
    yield from _with("translated", WITHOUT_SETTING["save_last_n_epochs"], "whole",
                     "save_last_n_epochs_state save_last_n_steps_state")  # fmt: skip
    yield from _always("flag", "save_state save_state_on_train_end")
    yield from _always("text", "resume")
    yield from _with("translated", WITHOUT_SETTING["resume"], "whole", "initial_epoch initial_step")
    yield from _with("translated", WITHOUT_SETTING["resume"], "flag", "skip_until_initial_step")
    yield from _mapped("flag", ("no_metadata", "`metadata: none` of export"))
    yield from _used("text", ("training_comment", "file.comment"), ("metadata_title", "file.title"),
                     ("metadata_trigger_phrase", "file.trigger"))  # fmt: skip
    yield from _with("refused", "files hold no such field here", "text", "metadata_author metadata_description "
                     "metadata_license metadata_tags metadata_usage_hint metadata_thumbnail "
                     "metadata_merged_from")  # fmt: skip
    yield from _with("translated", HUB, "text", "huggingface_repo_id huggingface_repo_type huggingface_path_in_repo "
                     "huggingface_token huggingface_repo_visibility")  # fmt: skip
    yield from _with("translated", HUB, "flag", "save_state_to_huggingface resume_from_huggingface async_upload")
    yield from _with(
        "translated", "previews come at the beginning of none, and at the end always", "flag", "sample_at_first"
    )
    yield from _with("translated", "previews use the base's own sampler", "text", "sample_sampler")
    reason = WITHOUT_SETTING["validate_every_n_steps"]
    yield from _with("translated", reason, "whole", "validation_seed validate_every_n_steps validate_every_n_epochs "
                     "max_validation_steps")  # fmt: skip
    yield from _with("translated", OWN_LOG, "text", "logging_dir log_with log_prefix log_tracker_name "
                     "log_tracker_config wandb_run_name console_log_file console_log_level")  # fmt: skip
    yield from _with("translated", OWN_LOG, "flag", "log_config console_log_simple")
    yield from _with("refused", "a secret is not copied into a pipeline", "text", "wandb_api_key")


def _of_the_machine() -> Iterator[Row]:
    yield from _mapped("text", ("mixed_precision", "`precision`: fp16 becomes auto"))
    yield from _mapped("flag", ("full_fp16", "`precision`"), ("full_bf16", "`precision: bf16`"))
    yield from _used("flag", ("gradient_checkpointing", "train.gradient_checkpointing"))
    yield from _with("refused", WITHOUT_SETTING["torch_compile"], "flag", "torch_compile")
    yield from _always("flag", "xformers sdpa mem_eff_attn lowram highvram")
    yield from _with("refused", WITHOUT_SETTING["fp8_base"], "flag", "fp8_base fp8_base_unet")
    yield from _with("refused", "activations stay on the device; gradient_checkpointing takes most of them away", "flag",
                     "cpu_offload_checkpointing")  # fmt: skip
    yield from _with("refused", WITHOUT_SETTING["torch_compile"], "text", "dynamo_backend")
    yield from _with("translated", DEVICES, "text", "ddp_timeout zero_stage offload_optimizer_device "
                     "offload_optimizer_nvme_path offload_param_device offload_param_nvme_path")  # fmt: skip
    yield from _with("translated", DEVICES, "flag", "deepspeed ddp_gradient_as_bucket_view ddp_static_graph "
                     "zero3_init_flag zero3_save_16bit_model fp16_master_weights_and_gradients")  # fmt: skip
    yield from _with("refused", SD_ONLY, "text", "blocks_to_swap t5xxl ae clip_l clip_g timestep_sampling sigmoid_scale "
                     "model_prediction_type discrete_flow_shift weighting_scheme logit_mean logit_std mode_scale "
                     "guidance_scale t5xxl_max_token_length")  # fmt: skip
    yield from _with("refused", SD_ONLY, "flag", "apply_t5_attn_mask apply_lg_attn_mask split_mode train_blocks")
    legacy = "it is no option of this script: the command line stops at it, a TOML file ignores it. For a part that is "
    yield from _with("no effect", f"{legacy}not trained, set text_encoder_lr: 0", "whole", "stop_text_encoder_training")
    yield from _with("no effect", f"{legacy}padded, there is nothing to set", "flag", "no_token_padding")
    yield from _mapped("text", ("token_string", "`adapter.trigger`, for textual inversion"),
                       ("init_word", "`adapter.init`"), ("weights", "`start_from`"))  # fmt: skip
    yield from _mapped("whole", ("num_vectors_per_token", "`adapter.vectors`"))
    yield from _with("refused", "captions are the pictures' own: write captions with the word in them", "flag",
                     "use_object_template use_style_template")  # fmt: skip


ALIASES: Mapping[str, str] = {"caption_extention": "caption_extension", "network_rank": "network_dim"}
"""Old spelling → name."""


def _by_name(rows: Iterable[Row]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        assert row.name not in found, row.name
        found[row.name] = row
    return found


ROWS: Mapping[str, Row] = _by_name(_rows())
"""Name → row."""


def row_of(name: str) -> Row | None:
    """Return the row of an option; arguments of optimizers and schedulers share one. None if it is unknown."""
    prefix = name.partition(".")[0]
    if name.startswith(LAUNCHER):
        return Row(name, "text", "translated", DEVICES)
    return ROWS.get(name) or ROWS.get(f"{prefix}.*")
