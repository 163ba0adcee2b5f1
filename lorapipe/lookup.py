"""Finding a setting by what somebody calls it: its name, kohya's flag for it, or words of its explanation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lorapipe import reference
from lorapipe.errors import InputError, near_miss
from lorapipe.pipeline.pipeline_schema import contracts, registry_of
from lorapipe.spec import Knob, Spec, knobs

MOST = 12
"""Hits of words that are listed."""
ALWAYS = "There is nothing to set: "
NO_KNOB: Mapping[str, str] = {
    "base_weights": "Not offered: merge the LoRA into the checkpoint first.",
    "cache_latents": f"{ALWAYS}every picture is encoded once and kept, augmented ones in each of their ways.",
    "block_lr_zero_threshold": f"{ALWAYS}a block whose rate is 0 (block_rates) is left out.",
    "cache_text_encoder_outputs": f"{ALWAYS}with text_encoder_lr: 0 captions are encoded once, in captions.variants ways.",
    "dataset_config": "Write a prepare stage for each subset, and name them as dataset, more_datasets and regularisation.",
    "dim_from_weights": "Give the adapter the ranks of the file of start_from; if they differ, an error says what they are.",
    "fp8_base": "Not offered: precision bf16 or fp16 holds the base in half the memory of fp32.",
    "in_json": "Write captions beside the pictures (caption_extensions).",
    "logging_dir": f"{ALWAYS}every training writes TensorBoard's files, metrics.jsonl and metrics.csv.",
    "lowram": f"{ALWAYS}checkpoints are mapped into memory, parts that are not used leave it.",
    "max_data_loader_n_workers": f"{ALWAYS}batches come from the cache, one step ahead.",
    "network_train_text_encoder_only": "Write unet_lr: 0.",
    "network_train_unet_only": "Write text_encoder_lr: 0.",
    "no_half_vae": f"{ALWAYS}the VAE always computes in fp32.",
    "resize_interpolation": f"{ALWAYS}shrinking averages areas, enlarging is Lanczos, as by default in kohya's.",
    "resume": f"{ALWAYS}the same command goes on where it was stopped, killed or unplugged.",
    "save_last_n_epochs": "All snapshots are kept; snapshots says how many there are, `lorapipe gc` frees the disk.",
    "save_state": f"{ALWAYS}the state is saved at every snapshot and once a minute.",
    "scale_v_pred_loss_like_noise_pred": "Write weighting: as_epsilon.",
    "debiased_estimation_loss": "Write weighting: debiased.",
    "train_data_dir": "Name the folder as images of a prepare stage; 10_penny woman below it gives repeats and captions.",
    "use_8bit_adam": "Write optimizer: adamw8bit.",
    "use_lion_optimizer": "Write optimizer: lion.",
    "vae_batch_size": f"{ALWAYS}pictures are encoded one at a time, read and resized ahead of it.",
    "validate_every_n_steps": "An evaluate stage compares the losses of held-out and trained pictures by snapshot.",
    "v2": "Write base: {family: sd2, checkpoint: …} in prepare.",
    "xformers": f"{ALWAYS}attention is torch's own (scaled_dot_product_attention), which is as fast.",
}
"""Flags of kohya's sd-scripts that are no setting here, with what is done instead."""
SAME = {
    "cache_latents_to_disk": "cache_latents", "cache_text_encoder_outputs_to_disk": "cache_text_encoder_outputs",
    "sdpa": "xformers", "mem_eff_attn": "xformers", "highvram": "lowram", "log_with": "logging_dir",
    "persistent_data_loader_workers": "max_data_loader_n_workers", "save_state_on_train_end": "save_state",
    "save_last_n_steps": "save_last_n_epochs", "fp8_base_unet": "fp8_base",
    "base_weights_multiplier": "base_weights",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A setting, and where it is written: `train`, `noise.offset`; of an adapter's, `lora`, `rank`."""

    kind: str
    owner: str
    path: str
    knob: Knob

    def called(self, word: str) -> bool:
        """Whether a word is its name or kohya's."""
        return word in (self.knob.name, self.path, *self.knob.param.kohya, *self.knob.param.aliases)


def explained(word: str) -> str:
    """What the word means here, whoever's word it is."""
    sought = re.sub(r"[\s-]+", "_", word.strip().lstrip("-")).casefold()
    names = [(kind, name) for kind, contract in contracts().items() for name in registry_of(contract).names()]
    parts = [reference.of_name(kind, name) for kind, name in names if name == sought]
    everywhere = list(places())
    parts += [_entry(group) for group in _alike(place for place in everywhere if place.called(sought))]
    if instead := NO_KNOB.get(SAME.get(sought, sought)):
        parts.append(f"kohya's {sought}\n  {instead}")
    if parts:
        return "\n\n".join(parts)
    words = sought.split("_")
    hits = list(_alike(place for place in everywhere if all(each in _text(place) for each in words)))
    if not hits:
        known = {*(name for _, name in names), *NO_KNOB, *SAME, *contracts()}
        known |= {name for place in everywhere for name in (place.knob.name, *place.knob.param.kohya)}
        raise InputError(f"there is nothing called {word!r} to choose.", cure=_nearest(sought, sorted(known)))
    more = [f"… and {len(hits) - MOST} more; another word would help."] if len(hits) > MOST else []
    return "\n\n".join([*map(_entry, hits[:MOST]), *more])


def places() -> Iterator[Place]:
    """Every setting that a pipeline can have."""
    for kind, contract in contracts().items():
        for name in registry_of(contract).names():
            for path, knob in _within(registry_of(contract).get(name)):
                yield Place(kind, name, path, knob)


def _within(cls: type[Spec]) -> Iterator[tuple[str, Knob]]:
    for knob in knobs(cls):
        yield knob.name, knob
        if group := reference.group_in(knob.type):
            yield from ((f"{knob.name}.{path}", inner) for path, inner in _within(group))


def _alike(found: Iterator[Place]) -> Iterator[list[Place]]:
    """Settings that several owners have alike, together."""
    groups: dict[tuple[str, str, str], list[Place]] = {}
    for place in found:
        groups.setdefault((place.kind, place.path, place.knob.param.help), []).append(place)
    yield from groups.values()


def _entry(group: list[Place]) -> str:
    first = group[0]
    owners = ", ".join(place.owner for place in group)
    return "\n".join([f"{first.kind} {owners}", *reference.setting(first.knob, "  ", first.path)])


def _text(place: Place) -> str:
    return " ".join([place.path, *place.knob.param.kohya, place.knob.param.help]).casefold().replace("-", " ")


def _nearest(word: str, known: list[str]) -> str:
    """The near miss alone: all that is known would be a page."""
    cure = near_miss(word, known)
    return cure if cure.startswith("Did") else "`lorapipe show` lists all that can be chosen."
