"""Deliver the results of a job from an inbox beside its pipeline file: the report, the grid, the snapshots.

The LoRA file itself is written by the pipeline's export stage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from lorapipe.errors import InputError
from lorapipe.pipeline.artifacts import Artifact, Dataset, File, Report, Weights
from lorapipe.pipeline.delivery_log import DeliveryLog
from lorapipe.pipeline.ledger import Ledger


def deliver(artifacts: Mapping[str, Artifact], folder: Path, name: str) -> Iterator[str]:
    """Copy the results into the job's folder, by hard links where the file system has them.

    Yields a line for each file that cannot be written: an old one may be open in a viewer, or a user's file may be there.
    The originals are in the store.
    """
    kinds = Counter(type(artifact) for artifact in artifacts.values())
    with closing(Ledger(folder)) as ledger:
        delivered = DeliveryLog(ledger, ledger.digests.file)
        for stage, artifact in artifacts.items():
            suffix = "" if kinds[type(artifact)] == 1 else f"-{stage}"
            for source, place in _files(artifact, name, suffix):
                try:
                    delivered.put(source, folder / place, stage, link=True)
                except (InputError, OSError) as error:
                    why = error.problems[0].what if isinstance(error, InputError) else error.strerror
                    yield f"{place} could not be written ({why}); it is {source}"


def _files(artifact: Artifact, name: str, suffix: str) -> Iterator[tuple[Path, str]]:
    match artifact:
        case Report():
            yield artifact.page, f"report{suffix}.html"
            yield artifact.grid, f"grid{suffix}{artifact.grid.suffix}"
        case Weights():
            for snapshot in artifact.snapshots:
                yield snapshot.path, f"snapshots/{name}{suffix}-{snapshot.step:06d}{snapshot.path.suffix}"
        case Dataset():
            yield artifact.contact_sheet, f"pictures{suffix}{artifact.contact_sheet.suffix}"
            if artifact.page is not None:
                yield artifact.page, f"dataset{suffix}.html"


def file_of(artifacts: Mapping[str, Artifact]) -> Path | None:
    """Return the path of the exported file among the artifacts; None if there is none."""
    return next((artifact.path for artifact in artifacts.values() if isinstance(artifact, File)), None)
