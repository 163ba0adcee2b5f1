"""The ledger: what was built from what, and the store of results.

    .lorapipe/                beside the pipeline
      store/<key>/            a published result, read-only: out/ manifest.json log.txt
      work/<key>/             an attempt: out/ (wiped each time), resume/ (kept: checkpoints), log.txt
      cache/                  shared by all stages: files named by content
      locks/  ledger.db       see `locks` and `records`
      runs/<n>/events.jsonl   what each run told; run.json: when, and how it ended
    outputs/<stage>           points to the stage's last result in the store

A result is published by renaming its finished folder into the store, so that it is there whole or not at all, and the
manifests in the store are the truth: everything else can be made from them. What `publish` returns outlasts a power cut
(see `publication`); the row in the database comes after it.
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
"""The environment variable that names a folder for the store of several projects; each keeps its own history."""
WRITABLE = ".writable"
"""Made and taken away to see whether the store can be written."""


class Result(NamedTuple):
    """A published result."""

    key: str
    folder: Path
    manifest: Manifest
    artifact: Artifact


@dataclass(frozen=True)
class Damage:
    """There is a result, but not whole: `what` is missing or changed; `why` says more, where more can be said.

    `moved`: it is a file or folder of the user's.
    """

    what: str
    moved: bool = False
    why: str = field(default="", compare=False)


class Ledger:
    """The store beside a pipeline. Reading it writes nothing; `open` makes the folders.

    What is read of sources and results is given up (`Interrupted`) when `stopping()` says so.
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
        """The database; where there is no ledger yet, an empty one that is not written."""
        records = LedgerDatabase(self.root / "ledger.db" if self.root.is_dir() else None, self)
        records.complete()
        return records

    @cached_property
    def digests(self) -> Digests:
        """Digests of files, remembered in the database."""
        return Digests(self.records, self._stopping)

    def open(self) -> None:
        """Make what is not there yet."""
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
            raise InputError("is no folder.", where=where, cure="Move it away; a new one is made.") from None
        except OSError as error:
            what = f"cannot write here: {error.strerror}."
            raise InputError(what, where=str(self.root), cure="Results are stored beside the pipeline file.") from None
        self.__dict__.pop("records", None)
        self.__dict__.pop("digests", None)

    def must_exist(self) -> None:
        """`InputError` where nothing was ever run."""
        if not self.root.is_dir():
            cure = "Go to the folder of a pipeline that was run."
            raise InputError("nothing was run here.", where=str(self.folder), cure=cure)

    def close(self) -> None:
        """Let go of the database."""
        if "records" in self.__dict__:
            self.records.close()

    def run_numbers(self) -> list[int]:
        """The runs whose files are kept, in order."""
        return run_files.numbers(self.runs)

    def run_files(self, numbers: Iterable[int], manifests: run_files.Manifests) -> Iterator[run_files.RunFiles]:
        """What the files of these runs say."""
        return filter(None, (run_files.read(self.runs, number, manifests) for number in numbers))

    def next_run(self) -> int:
        """A number above those of all runs whose files are kept."""
        return max(self.run_numbers(), default=0) + 1

    def manifests(self) -> Iterator[Manifest]:
        """The manifests of all results in the store."""
        with suppress(FileNotFoundError):
            for name in os.listdir(self.store):  # noqa: PTH208 (names only, and there may be thousands)
                manifest = read_manifest(f"{self.store}{os.sep}{name}{os.sep}{MANIFEST}")
                if manifest is not None:
                    yield manifest

    def manifest(self, key: str) -> Manifest | None:
        """The manifest of a result, by its key or its folder's name; it may be damaged. None if there is none."""
        return read_manifest(str(self.store / short(key) / MANIFEST))

    def result(self, key: str, inputs: Sequence[Artifact] = ()) -> Result | Damage | None:
        """The result of a key, if it is there and whole.

        `inputs` are the artifacts that it is made from: in the result they stand as they are now, and are not looked at
        again.
        """
        folder = self.store / short(key)
        own = f"{folder}{os.sep}"  # names are strings here: a pipeline may have a thousand results to look at
        manifest = read_manifest(own + MANIFEST)
        if manifest is None and folder.is_dir():  # another run may have published it between two looks
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
        except Exception:  # whatever there is in a manifest that was not written so
            return Damage(MANIFEST)
        return Result(key, folder, manifest, artifact) if gone is None else Damage(gone, moved=True)

    def _is_whole(self, name: str, digest: str) -> bool:
        try:
            return stat.S_ISREG(os.stat(name).st_mode) and self.digests.file(name) == digest  # noqa: PTH116
        except (OSError, ValueError):  # gone, or no name of a file
            return False

    def attempt(self, key: str) -> Path:
        """The folder to build a result in; see `begin`."""
        return folder_at(self.work / short(key))

    def has_checkpoint(self, key: str) -> bool:
        """Whether an earlier attempt left something to go on from."""
        resume = self.work / short(key) / RESUME
        return resume.is_dir() and any(resume.iterdir())

    def publish(self, identity: Identity, artifact: Json, origin: Origin) -> Result:
        """Turn a finished attempt into the result of its key; the lock of the key must be held.

        `artifact` is in its JSON form, with paths as they will be in the store; `origin` goes into the manifest. Raises
        `LorapipeError` where a file of the artifact is missing.
        """
        attempt, target = self.work / identity.id, self.store / identity.id
        files = inventory(attempt)
        inside = (
            path.relative_to(target) for path in paths(decode(artifact, self.store)) if path.is_relative_to(target)
        )
        missing = next((path for path in inside if not (attempt / path).exists()), None)
        if missing is not None:
            raise LorapipeError(f"The stage said that it made {missing.as_posix()}, but it did not.")
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
        """The result of a key from an attempt that a run has finished and not published: it is published now.

        That run was ended between its manifest and the rename. The lock of the key must be held.
        """
        attempt = self.work / short(key)
        manifest = read_manifest(str(attempt / MANIFEST))
        if manifest is None or manifest.get("key") != key or manifest.get("files") != inventory(attempt):
            return None
        self._move(attempt, self.store / attempt.name, manifest["files"])
        return self.result(key, inputs)

    def _move(self, attempt: Path, target: Path, files: Mapping[str, ResultFile]) -> None:
        """What lies at the target is damaged, or it would have been used."""
        move(attempt, target, self.work / f"{target.name}.damaged")
        for name, kept in files.items():
            self.digests.know(str(target / name), kept["digest"])
        self.digests.save()

    @cached_property
    def _outputs(self) -> tuple[Path, str]:
        """The folder `outputs/`, and the way from there to the store."""
        outputs = self.folder / "outputs"
        return outputs, os.path.relpath(self.store, outputs)

    def mark_used(self, result: Result) -> None:
        """Let other projects that share the store see that the result is in use; see `cleaning`.

        A kill may have left in it what it was made from.
        """
        remove(f"{result.folder}{os.sep}{RESUME}")
        if self.is_shared:
            with suppress(OSError):
                os.utime(result.folder)

    def point(self, stage: str, result: Result) -> str:
        """Make `outputs/<stage>` point to a result; returns the folder to show: the pointer, or the result itself.

        Where links are refused (Windows without the right to make them), a text file beside says where to look. What
        the user has put there is left alone.
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
        """Make sure that what `point` has made outlasts a power cut: once a run, since each can be made again."""
        outputs, _ = self._outputs
        if outputs.is_dir():
            sync_folder(outputs)
            sync_folder(self.folder)


def _target_of(link: str) -> str | None:
    """Where a link points; empty where nothing is there, None where something else is."""
    try:
        return os.readlink(link)  # noqa: PTH115 (as a string: it is compared a thousand times)
    except FileNotFoundError:
        return ""
    except OSError:
        return None


def _missing(names: Iterable[str], own: str) -> str | None:
    """The first of these files and folders that is not there, those of the result itself left out."""
    return next((name for name in names if not name.startswith(own) and not os.path.exists(name)), None)  # noqa: PTH110
