"""Metadata of an exported file: kohya's about the training, and ModelSpec's for programs that load it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from lorapipe.formats import serialize
from lorapipe.metadata import Privacy, hashes, kohya_metadata, modelspec, origin_metadata, untrained_metadata
from lorapipe.pipeline.artifacts import Snapshot, Weights
from lorapipe.pipeline.delivery_log import HASH, sealed
from lorapipe.training_record import TrainingRecord

if TYPE_CHECKING:
    from torch import Tensor

    from lorapipe.formats import AdapterWeights
    from lorapipe.models import Family


@dataclass(frozen=True)
class FileMetadata:
    """What an export says of its file; fields are its settings (`level` is `metadata`)."""

    weights: Weights
    convert: str
    level: Privacy
    title: str
    comment: str
    trigger: str

    def of_file(
        self, snapshot: Snapshot, learned: AdapterWeights, prediction: str, tensors: Mapping[str, Tensor]
    ) -> Mapping[str, str]:
        """Return the metadata of a file with these tensors, their hashes included."""
        chosen = {**self.of_weights(snapshot, learned, prediction), **hashes(serialize(tensors, {}))}
        return chosen if self.level == "none" else sealed(chosen)

    def of_checkpoint(
        self, snapshot: Snapshot, learned: AdapterWeights, prediction: str, digest: str
    ) -> Mapping[str, str]:
        """Return the metadata of a checkpoint; `digest` is the SHA-256 of its tensors' bytes."""
        about = self.of_weights(snapshot, learned, prediction)
        chosen = {key: value for key, value in about.items() if not key.startswith("ss_network_")} | {HASH: digest}
        if self.level == "none":
            return chosen
        return sealed(chosen | {"modelspec.hash_sha256": f"0x{digest}"})

    def of_weights(self, snapshot: Snapshot, learned: AdapterWeights, prediction: str) -> dict[str, str]:
        """Return the metadata that does not depend on the file's bytes."""
        record = TrainingRecord.load(self.weights.training) if self.weights.training else None
        base = cast("Family", self.weights.model)
        if record:
            step, epoch, algorithms = snapshot.step, snapshot.epoch, learned.algorithms
            chosen = kohya_metadata(record, self.title, step, epoch, self.level, algorithms)
        else:
            chosen = untrained_metadata(type(base), base.base_model_version(prediction), learned, self.level)
            chosen |= {} if self.level != "full" else origin_metadata(snapshot.path)
        if self.convert != "own":
            loader = untrained_metadata(type(base), base.base_model_version(prediction), learned, "none")
            chosen |= {key: value for key, value in loader.items() if key.startswith("ss_network_")}
        if self.level != "none":
            chosen |= {"ss_training_comment": self.comment} if self.comment else {}
            # The snapshot's own time: exporting the same weights twice gives the same bytes.
            made = datetime.datetime.fromtimestamp(snapshot.path.stat().st_mtime, datetime.UTC)
            chosen["ss_training_finished_at"] = str(made.timestamp())
            chosen |= self._modelspec(record, base, prediction, made, learned)
        return chosen

    def _modelspec(
        self,
        record: TrainingRecord | None,
        base: Family,
        prediction: str,
        made: datetime.datetime,
        learned: AdapterWeights,
    ) -> dict[str, str]:
        return modelspec(
            record.architecture if record else base.architecture(prediction),
            record.prediction if record else prediction,
            self.title,
            made.isoformat(timespec="seconds").replace("+00:00", "Z"),
            record.resolution if record else None,
            record.settings.get("clip_skip", 1) if record else 1,
            self.trigger or next(iter(learned.embeddings), ""),
            self._hint(record),
            kind="" if self.convert == "checkpoint" else "lora" if learned.modules else "textual-inversion",
        )

    def _hint(self, record: TrainingRecord | None) -> str:
        if self.convert == "checkpoint":
            return f"Made at {record.resolution[0]}x{record.resolution[1]}." if record else ""
        size = f", at {record.resolution[0]}x{record.resolution[1]}" if record else ""
        usage = f" {self.weights.usage}" if self.weights.usage else ""
        return f"Strength {self.weights.strength:g}{size}.{usage}"
