"""The pipeline that would train a file: from lorapipe's own metadata, else from kohya's `ss_*`, else from the tensors.

`pipeline_of` takes metadata and shapes alone, so an importer of kohya's settings may call it without a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.inspection import _kohya_settings
from lorapipe.inspection._metadata_values import Metadata
from lorapipe.inspection._training_facts import trigger
from lorapipe.pipeline.yaml_text import stages_text
from lorapipe.training.options import TrainingOptions

if TYPE_CHECKING:
    from lorapipe.inspection._report import FileReport

FAMILIES = (("sdxl", "sdxl"), ("stable-diffusion-xl", "sdxl"), ("sd_v2", "sd2"), ("sd2", "sd2"),
            ("stable-diffusion-v2", "sd2"), ("sd_v1", "sd15"), ("sd1", "sd15"), ("stable-diffusion-v1", "sd15"))  # fmt: skip
"""Beginning of `ss_base_model_version`, `modelspec.architecture` or the report's `base`, in small letters → family."""
PICTURES, REGULARISATION, CHECKPOINT = "./pictures", "./regularisation", "./base.safetensors"
"""Paths where the metadata has none: files hold the names of folders and bases, never their places."""


@dataclass(frozen=True)
class FileFacts:
    """What a file's tensors say of its training, for files without metadata.

    `family` is a registered family, or empty; `algorithms` are registered algorithms; `parts` are `U-Net`, `text encoder`
    …, or empty where unknown; `words` are embeddings with their numbers of vectors.
    """

    name: str = ""
    family: str = ""
    algorithms: tuple[str, ...] = ()
    rank: int = 0
    alpha: float = 0.0
    parts: tuple[str, ...] = ()
    words: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of_report(cls, report: FileReport) -> FileFacts:
        """Return the facts of an inspected file."""
        ranks, alphas = ([each for each in counts if each != "none"] for counts in (report.ranks, report.alphas))
        words = {word: next(iter(sizes.values()))[0] for word, sizes in report.words.items()}
        return cls(
            Path(report.file).stem, family_of(report.base), tuple(report.algorithms), int(next(iter(ranks), 0)),
            float(next(iter(alphas), 0)), tuple(report.parts), words,
        )  # fmt: skip


@dataclass(frozen=True)
class TrainingPipeline:
    """Stages in document form, and remarks: what the user has to fill in, and what could not be translated."""

    stages: Mapping[str, Mapping[str, object]]
    remarks: tuple[str, ...]

    def as_text(self) -> str:
        """Return the YAML of the pipeline, with the remarks as comments above it."""
        head = "".join(f"# {line}\n" for line in self.remarks)
        return f"{head}\n{stages_text(self.stages)}" if head else stages_text(self.stages)


def family_of(told: str) -> str:
    """Return the registered family of a base's name in metadata; empty if it is none that can be trained here."""
    plain = told.strip().lower()
    return next((family for start, family in FAMILIES if plain.startswith(start)), "")


def pipeline_of(metadata: Mapping[str, str], facts: FileFacts | None = None) -> TrainingPipeline:
    """Return the pipeline that trains a file with this metadata again.

    `lorapipe_settings` has all settings of a training with lorapipe; other files are translated from `ss_*` as sd-scripts
    write them (`train_network.py`, `train_util.py`), and what they lack is taken from `facts`.
    """
    found = facts or FileFacts()
    told = Metadata(metadata)
    remarks: list[str] = []
    name = _stage_name(metadata.get("ss_output_name") or metadata.get("modelspec.title") or found.name)
    prepare, more = _datasets(told, found, remarks)
    train, settings_remarks = _train(told, found)
    stages: dict[str, dict[str, object]] = {**prepare}
    of_data: dict[str, object] = {"uses": "train", "dataset": "$dataset"}
    if len(prepare) > 1 + ("regularisation" in prepare):
        of_data["more_datasets"] = [f"${each}" for each in prepare if each not in ("dataset", "regularisation")]
    if "regularisation" in prepare:
        of_data["regularisation"] = "$regularisation"
    stages[name] = {**of_data, **train}
    word = trigger(metadata)
    says = {"trigger": word} if word and not found.words else {}
    stages["file"] = {"uses": "export", "weights": f"${name}", "to": f"outputs/{name}.safetensors", **says}
    unread = told.unread()
    remarks += [*more, *settings_remarks]
    if unread:
        remarks.append(f"Not translated: {', '.join(unread)}.")
    return TrainingPipeline(stages, tuple(remarks))


def _stage_name(title: str) -> str:
    """Return a name that a stage may have."""
    plain = re.sub(r"[^a-z0-9_]+", "_", title.lower()).strip("_")[:40]
    name = plain if plain[:1].isalpha() else f"lora_{plain}".strip("_")
    return f"{name}_lora" if name in ("dataset", "file", "regularisation") else name


def _train(told: Metadata, found: FileFacts) -> tuple[dict[str, object], list[str]]:
    """Return the train stage's knobs, and remarks."""
    if (own := told.mapping("lorapipe_settings")) is not None:
        told.read_all("ss_", "lorapipe_")
        kept = {key: value for key, value in own.items() if key != "start_from"}
        remarks = [f"It was continued from {own['start_from']}: add start_from."] if own.get("start_from") else []
        return _kohya_settings.without_defaults(TrainingOptions, kept), remarks
    knobs, remarks = _kohya_settings.train_knobs(
        told, found.algorithms, found.rank, found.alpha, found.parts, found.words
    )
    return _kohya_settings.without_defaults(TrainingOptions, knobs), remarks


def _datasets(
    told: Metadata, found: FileFacts, remarks: list[str]
) -> tuple[dict[str, dict[str, object]], Sequence[str]]:
    """Return the prepare stages: `dataset`, `dataset_2` …, `regularisation`; and further remarks."""
    base = _base(told, found, remarks)
    shared = _kohya_settings.prepare_knobs(told)
    subsets, regularisation = _kohya_settings.subsets(told)
    stages: dict[str, dict[str, object]] = {}
    for number, subset in enumerate(subsets or [{}]):
        stages["dataset" if not number else f"dataset_{number + 1}"] = {
            "uses": "prepare", "images": PICTURES, "base": base, **shared, **subset,
        }  # fmt: skip
    if regularisation:
        stages["regularisation"] = {"uses": "prepare", "images": REGULARISATION, "base": base, **shared}
    told.take("ss_sd_model_hash", "ss_new_sd_model_hash", "ss_vae_hash", "ss_new_vae_hash")
    return stages, [*_kohya_settings.folder_remarks(told)]


def _base(told: Metadata, found: FileFacts, remarks: list[str]) -> dict[str, object]:
    """Return the base: the family by the metadata or else by the tensors, and the checkpoint's name."""
    version = told.text("ss_base_model_version") or told.text("modelspec.architecture")
    family = family_of(version) or found.family or ("sd2" if told.flag("ss_v2") else "")
    if not family:
        remarks.append("Set the family of the base: neither the metadata nor the tensors say it (sd15, sd2, sdxl).")
    name = told.text("ss_sd_model_name").replace("\\", "/")
    told_name = f" ({name})" if name else ""
    remarks.append(f"Set the paths: images, and checkpoint{told_name}.")
    if vae := told.text("ss_vae_name"):
        remarks.append(f"It was trained with another VAE, {vae}: add vae to the base.")
    base: dict[str, object] = {"family": family or "sd15", "checkpoint": _checkpoint(name)}
    predicts = told.text("modelspec.prediction_type")
    if predicts in ("v", "v_prediction") or told.flag("ss_v_parameterization"):
        base["prediction"] = "v_prediction"
    return base | ({"zero_terminal_snr": True} if told.flag("ss_zero_terminal_snr") else {})


def _checkpoint(name: str) -> str:
    """Return a path for the name of a base's file, whose folder metadata does not have."""
    if name.lower().endswith((".safetensors", ".ckpt", ".pt")):
        return f"./{name.rsplit('/', 1)[-1]}"
    return name if name == "pocket" else CHECKPOINT
