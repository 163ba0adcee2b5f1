"""Flags of kohya's sd-scripts without an equivalent setting, and what to do instead; `lorapipe show FLAG` prints it."""

from __future__ import annotations

from collections.abc import Mapping

ALWAYS = "There is nothing to set: "
WITHOUT_SETTING: Mapping[str, str] = {
    "base_weights": "Not offered: merge the LoRA into the checkpoint first.",
    "cache_latents": f"{ALWAYS}every picture is encoded once and cached, with each of its augmented variants.",
    "block_lr_zero_threshold": f"{ALWAYS}a block whose rate is 0 (block_rates) is not trained.",
    "cache_text_encoder_outputs": f"{ALWAYS}with text_encoder_lr: 0 captions are encoded once (captions.variants of each).",
    "dataset_config": "Write a prepare stage for each subset, and name them as dataset, more_datasets and regularisation.",
    "dim_from_weights": "Give the adapter the ranks of the file of start_from; if they differ, an error names them.",
    "fp8_base": "Not offered: precision bf16 or fp16 holds the base in half the memory of fp32.",
    "in_json": "Write captions beside the pictures (caption_extensions).",
    "logging_dir": f"{ALWAYS}every training writes TensorBoard's files, metrics.jsonl and metrics.csv.",
    "lowram": f"{ALWAYS}checkpoints are memory-mapped, and unused parts are unloaded.",
    "max_data_loader_n_workers": f"{ALWAYS}batches come from the cache, one step ahead.",
    "network_train_text_encoder_only": "Write unet_lr: 0.",
    "network_train_unet_only": "Write text_encoder_lr: 0.",
    "no_half_vae": f"{ALWAYS}the VAE always computes in fp32.",
    "resize_interpolation": f"{ALWAYS}shrinking averages areas, enlarging uses Lanczos, as by default in kohya's scripts.",
    "resume": f"{ALWAYS}the same command resumes after a stop, a kill or a power cut.",
    "save_last_n_epochs": "All snapshots are kept; snapshots sets their number, and `lorapipe gc` frees disk space.",
    "save_state": f"{ALWAYS}the state is saved at every snapshot and once a minute.",
    "scale_v_pred_loss_like_noise_pred": "Write weighting: as_epsilon.",
    "debiased_estimation_loss": "Write weighting: debiased.",
    "torch_compile": "Not offered: compiled steps were slower in every measurement; graphs: auto makes them faster.",
    "train_data_dir": "Name the folder as images of a prepare stage; 10_penny woman below it gives repeats and captions.",
    "use_8bit_adam": "Write optimizer: adamw8bit.",
    "use_lion_optimizer": "Write optimizer: lion.",
    "vae_batch_size": f"{ALWAYS}pictures are encoded one at a time; the next are read and resized meanwhile.",
    "validate_every_n_steps": "An evaluate stage compares the losses of held-out and trained pictures by snapshot.",
    "v2": "Write base: {family: sd2, checkpoint: …} in prepare.",
    "xformers": f"{ALWAYS}attention is torch's own (scaled_dot_product_attention), which is as fast.",
}
"""Flag → what to do instead."""
SYNONYMS: Mapping[str, str] = {
    "cache_latents_to_disk": "cache_latents", "cache_text_encoder_outputs_to_disk": "cache_text_encoder_outputs",
    "sdpa": "xformers", "mem_eff_attn": "xformers", "highvram": "lowram", "log_with": "logging_dir",
    "persistent_data_loader_workers": "max_data_loader_n_workers", "save_state_on_train_end": "save_state",
    "save_last_n_steps": "save_last_n_epochs", "fp8_base_unet": "fp8_base",
    "base_weights_multiplier": "base_weights",
}  # fmt: skip
"""Flag → the flag in `WITHOUT_SETTING` with the same answer."""
