"""The ledger: the store of results, and the record of what each was built from.

    .lorapipe/                beside the pipeline
      store/<key>/            a published result, read-only: out/ manifest.json log.txt
      work/<key>/             an attempt: out/ (cleared each time), resume/ (kept: checkpoints), log.txt
      cache/                  shared by all stages: files named by content
      locks/  ledger.db       see `locks` and `ledger_database`
      runs/<n>/events.jsonl   the events of each run; run.json: when it ran, and how it ended
    outputs/<stage>           a link to the stage's last result in the store

A result is published by renaming its finished folder into the store, which is atomic. The manifests in the store are the
source of truth: everything else can be rebuilt from them. A published result survives a power cut (see `publication`); its
row in the database is written afterwards.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from lorapipe.atomic import write_text
from lorapipe.errors import InputError, LorapipeError
from lorapipe.fsync import make_folder, sync_folder
from lorapipe.pipeline import run_files
from lorapipe.pipeline.artifact_json import Json, decode
from lorapipe.pipeline.artifacts import Artifact, paths
from lorapipe.pipeline.digests import Digests
from lorapipe.pipeline.keys import Identity, short
from lorapipe.pipeline.ledger_database import LedgerDatabase
from lorapipe.pipeline.manifest import (
    MANIFEST_VERSION,
    Manifest,
    Origin,
    ResultFile,
    manifest_damage,
    manifest_text,
    read_manifest,
)
from lorapipe.pipeline.publication import LOG as LOG
from lorapipe.pipeline.publication import MANIFEST, RESUME, folder_at, inventory, link, move
from lorapipe.pipeline.publication import begin as begin
from lorapipe.pipeline.publication import remove as remove
from lorapipe.spec.paths import named_path

SHARED = "LORAPIPE_STORE"
"""The environment variable with the folder of a store that projects share; each project has its own history."""
WRITABLE = ".writable"
"""A file that is created and deleted to test whether the store can be written."""


class Result(NamedTuple):
    """A published result."""

    key: str
    folder: Path
    manifest: Manifest
    artifact: Artifact


@dataclass(frozen=True)
class Damage:
    """A damaged result: the file `what` is missing or changed; `why` may give a reason.

    `moved` means that a user's file or folder is missing, not one of the result.
    """

    what: str
    moved: bool = False
    why: str = field(default="", compare=False)


class Ledger:
    """The store beside a pipeline. Reading writes nothing; `open` creates the folders.

    Reading of sources and results raises `Interrupted` when `stopping()` turns true.
    """

    def __init__(self, folder: Path, stopping: Callable[[], object] = bool) -> None:
        self.folder = folder
        self._stopping = stopping
        self.root = folder / ".lorapipe"
        self.runs = self.root / "runs"
        shared = os.environ.get(SHARED)
        self.is_shared = bool(shared)
        base = named_path(shared, SHARED) / ".lorapipe" if shared else self.root
        self.store = base / "store"
        self.work = base / "work"
        self.cache = base / "cache"
        self.locks = base / "locks"

    @cached_property
    def records(self) -> LedgerDatabase:
        """The database; if there is no ledger yet, an empty one in memory."""
        records = LedgerDatabase(self.root / "ledger.db" if self.root.is_dir() else None, self)
        records.complete()
        return records

    @cached_property
    def digests(self) -> Digests:
        """Digests of files, cached in the database."""
        return Digests(self.records, self._stopping)

    def open(self) -> None:
        """Create missing folders."""
        try:
            for folder in (self.store, self.work, self.cache, self.runs, self.locks):
                make_folder(folder)
            ignore = self.root / ".gitignore"
            if not os.path.lexists(ignore):
                write_text("*\n", ignore)
            (self.root / WRITABLE).touch()
            (self.root / WRITABLE).unlink(missing_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            where = str(error.filename or self.root)
            raise InputError("is not a folder.", where=where, cure="Move it away; a new folder is created.") from None
        except OSError as error:
            what = f"cannot write here: {error.strerror}."
            raise InputError(what, where=str(self.root), cure="Results are stored beside the pipeline file.") from None
        self.__dict__.pop("records", None)
        self.__dict__.pop("digests", None)

    def must_exist(self) -> None:
        """Raise `InputError` if nothing was ever run."""
        if not self.root.is_dir():
            cure = "Go to the folder of a pipeline that was run."
            raise InputError("nothing was run here.", where=str(self.folder), cure=cure)

    def close(self) -> None:
        """Close the database."""
        if "records" in self.__dict__:
            self.records.close()

    def run_numbers(self) -> list[int]:
        """Return the numbers of the runs whose files exist, in order."""
        return run_files.numbers(self.runs)

    def run_files(self, numbers: Iterable[int], manifests: run_files.Manifests) -> Iterator[run_files.RunFiles]:
        """Yield the contents of these runs' files."""
        return filter(None, (run_files.read(self.runs, number, manifests) for number in numbers))

    def next_run(self) -> int:
        """Return a number above those of all runs whose files exist."""
        return max(self.run_numbers(), default=0) + 1

    def manifests(self) -> Iterator[Manifest]:
        """Yield the manifests of all results in the store."""
        with suppress(FileNotFoundError):
            for name in os.listdir(self.store):  # noqa: PTH208 (names only, and there may be thousands)
                manifest = read_manifest(f"{self.store}{os.sep}{name}{os.sep}{MANIFEST}")
                if manifest is not None:
                    yield manifest

    def manifest(self, key: str) -> Manifest | None:
        """Return a result's manifest, by its key or folder name; None if there is none. The result may be damaged."""
        return read_manifest(str(self.store / short(key) / MANIFEST))

    def result(self, key: str, inputs: Sequence[Artifact] = ()) -> Result | Damage | None:
        """Return the result of a key, its damage, or None if there is none.

        `inputs` are the artifacts that it was made from: the result contains them as they are now, and they are not checked
        again.
        """
        folder = self.store / short(key)
        own = f"{folder}{os.sep}"  # strings instead of paths, since a pipeline may have a thousand results to check
        manifest = read_manifest(own + MANIFEST)
        if manifest is None and folder.is_dir():  # another run may have published it meanwhile
            manifest = read_manifest(own + MANIFEST)
        if manifest is None or manifest["key"] != key:
            return Damage(MANIFEST, why=manifest_damage(own + MANIFEST)) if os.path.lexists(folder) else None
        self.digests.recall(self.store)
        for name, kept in manifest["files"].items():
            if not self._is_whole(own + name, kept["digest"]):
                return Damage(name)
        try:
            artifact = decode(manifest["artifact"], self.store, inputs)
            gone = _missing(map(str, paths(artifact, inputs)), own)
        except InputError as error:
            return Damage(str(error))
        except Exception:  # a manifest with unexpected contents may raise anything
            return Damage(MANIFEST)
        return Result(key, folder, manifest, artifact) if gone is None else Damage(gone, moved=True)

    def _is_whole(self, name: str, digest: str) -> bool:
        try:
            return stat.S_ISREG(os.stat(name).st_mode) and self.digests.file(name) == digest  # noqa: PTH116
        except (OSError, ValueError):  # missing, or not a valid file name
            return False

    def attempt(self, key: str) -> Path:
        """Return the folder in which a result is built; see `publication.begin`."""
        return folder_at(self.work / short(key))

    def has_checkpoint(self, key: str) -> bool:
        """Whether an earlier attempt has left something to resume from."""
        resume = self.resume_folder(key)
        return resume.is_dir() and any(resume.iterdir())

    def log_of(self, key: str) -> list[str]:
        """Return the lines that a stage has printed when it made a result; none if there is no log."""
        with suppress(OSError):
            return (self.store / short(key) / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
        return []

    def resume_folder(self, key: str) -> Path:
        """Return the folder with what an earlier attempt has left to resume from, if there is any."""
        return self.work / short(key) / RESUME

    def publish(self, identity: Identity, artifact: Json, origin: Origin) -> Result:
        """Turn a finished attempt into the result of its key; the lock of the key must be held.

        `artifact` is in JSON form, with the paths that it will have in the store; `origin` goes into the manifest. Raises
        `LorapipeError` if a file of the artifact is missing.
        """
        attempt, target = self.work / identity.id, self.store / identity.id
        files = inventory(attempt)
        inside = (
            path.relative_to(target) for path in paths(decode(artifact, self.store)) if path.is_relative_to(target)
        )
        missing = next((path for path in inside if not (attempt / path).exists()), None)
        if missing is not None:
            raise LorapipeError(f"The stage returned {missing.as_posix()}, but did not make it.")
        manifest: Manifest = {
            "version": MANIFEST_VERSION,
            "key": identity.key,
            "pipeline": origin["pipeline"],
            "stage": origin["stage"],
            "type": origin["type"],
            "started": origin["started"],
            "finished": time.time(),
            "settings": identity.settings,
            "sources": identity.sources,
            "artifact": artifact,
            "files": files,
        }
        write_text(manifest_text(manifest), attempt / MANIFEST, synced=False)
        self._move(attempt, target, files)
        result = self.result(identity.key)
        assert isinstance(result, Result), result
        return result

    def adopt(self, key: str, inputs: Sequence[Artifact] = ()) -> Result | Damage | None:
        """Publish an attempt that a run has finished but not published, and return the result.

        That run was killed after it wrote the manifest and before the rename. The lock of the key must be held.
        """
        attempt = self.work / short(key)
        manifest = read_manifest(str(attempt / MANIFEST))
        if manifest is None or manifest.get("key") != key or manifest.get("files") != inventory(attempt):
            return None
        self._move(attempt, self.store / attempt.name, manifest["files"])
        return self.result(key, inputs)

    def _move(self, attempt: Path, target: Path, files: Mapping[str, ResultFile]) -> None:
        """Move the attempt to the target; an existing result there is damaged, since it was not used."""
        move(attempt, target, self.work / f"{target.name}.damaged")
        for name, kept in files.items():
            self.digests.know(str(target / name), kept["digest"])
        self.digests.save()

    @cached_property
    def _outputs(self) -> tuple[Path, str]:
        """The folder `outputs/`, and the relative path from there to the store."""
        outputs = self.folder / "outputs"
        return outputs, os.path.relpath(self.store, outputs)

    def mark_used(self, result: Result) -> None:
        """Mark a result as used, for other projects that share the store; see `garbage_collection`.

        Also remove a resume folder that a kill has left in it.
        """
        remove(f"{result.folder}{os.sep}{RESUME}")
        if self.is_shared:
            with suppress(OSError):
                os.utime(result.folder)

    def link_output(self, stage: str, result: Result) -> str:
        """Link `outputs/<stage>` to a result; return the folder to show: the link, or the result itself.

        If links are not allowed (Windows without that privilege), a text file gives the path instead. Users' files there are
        not touched.
        """
        outputs, from_outputs = self._outputs
        pointer, out = f"{outputs}{os.sep}{stage}", f"{result.folder}{os.sep}out"
        target = f"{from_outputs}{os.sep}{short(result.key)}{os.sep}out"
        there = _target_of(pointer)
        if there == target:
            return pointer
        if there is None or (there and ".lorapipe" not in Path(there).parts):
            return out
        try:
            outputs.mkdir(exist_ok=True)
            link(outputs / f".{stage}.new", target, Path(pointer))
        except OSError:
            with suppress(OSError):
                (outputs / f"{stage}.txt").write_text(f"{out}\n", encoding="utf-8")
            return out
        return pointer

    def sync_pointers(self) -> None:
        """Sync the links to the disk; once per run, since they can be made again."""
        outputs, _ = self._outputs
        if outputs.is_dir():
            sync_folder(outputs)
            sync_folder(self.folder)


def _target_of(link: str) -> str | None:
    """Return the target of a link; empty if there is nothing, None if there is something else."""
    try:
        return os.readlink(link)  # noqa: PTH115 (as a string: it is compared a thousand times)
    except FileNotFoundError:
        return ""
    except OSError:
        return None


def _missing(names: Iterable[str], own: str) -> str | None:
    """Return the first of these files and folders that is missing, except those of the result itself."""
    return next((name for name in names if not name.startswith(own) and not os.path.exists(name)), None)  # noqa: PTH110
