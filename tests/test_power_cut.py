"""After a power cut, finished results are complete, and interrupted stages resume from their last saved state.

On a real file system: ext4 that writes its journal every ten minutes unless it is synced. The content of its disk at the
moment of the cut is mounted, and the journal replayed; see `corpus.disks`.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import tiny
from corpus.disks import Disk, disk, frozen

from lorapipe.checksum import reading
from lorapipe.job_queue.queue import Queue
from lorapipe.pipeline.ledger import Ledger

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts a disk as Linux does")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "lorapipe", *words]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "toys"), str(ROOT / "tests")])}


def run(folder: Path, *words: str) -> list[dict[str, Any]]:
    """Run a pipeline, which must succeed, and return its output."""
    found = subprocess.run(
        command("run", "p.yaml", "--json", *words), cwd=folder, env=environment(), capture_output=True, encoding="utf-8"
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    return [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]


def how_ended(told: list[dict[str, Any]]) -> dict[str, str]:
    return {event["stage"]: event["event"] for event in told if event["event"] in ("finished", "reused", "failed")}


@contextmanager
def stopped_at(folder: Path, moment: Callable[[dict[str, Any]], bool], *words: str) -> Iterator[list[dict[str, Any]]]:
    """Suspend a run and its workers at the first event that matches `moment`; they are killed afterwards."""
    process = subprocess.Popen(
        command("run", "p.yaml", "--json", *words), cwd=folder, env=environment(), stdout=subprocess.PIPE,
        encoding="utf-8", stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    told: list[dict[str, Any]] = []
    for line in process.stdout:
        if line.startswith("{"):
            told.append(json.loads(line))
            if moment(told[-1]):
                break
    else:
        pytest.fail(f"the run ended before the moment: {told[-3:]}")
    with frozen(process.pid):
        yield told
    process.wait()
    process.stdout.close()


def whole(folder: Path) -> set[str]:
    """Return the keys of the results in the store, after comparing all files with their manifests."""
    keys = set()
    for result in (folder / ".lorapipe" / "store").iterdir():
        manifest = json.loads((result / "manifest.json").read_bytes())
        keys.add(manifest["key"])
        for name, kept in manifest["files"].items():
            data = (result / name).read_bytes()
            assert (len(data), "sha256:" + hashlib.sha256(data).hexdigest()) == (kept["size"], kept["digest"]), name
    return keys


def keys(told: list[dict[str, Any]], event: str) -> set[str]:
    return {each["key"] for each in told if each["event"] == event}


# -------------------------------------------------------------------------------------------------------------- a pipeline

TOY = """\
stages:
  text: {uses: words, folder: texts}
  tally: {uses: count, text: $text, word: a, steps: 6, pause: 0.05}
  other: {uses: count, text: $text, word: b}
  kept: {uses: keep, tally: $tally, others: [$text], to: deep/in/here/result.html}
"""


@pytest.fixture
def toy(toys: None, tmp_path: Path) -> Iterator[tuple[Disk, Path]]:
    with disk(tmp_path) as made:
        project = made.mounted / "project"
        (project / "texts").mkdir(parents=True)
        (project / "texts" / "one.txt").write_text("a b a", encoding="utf-8")
        (project / "p.yaml").write_text(TOY, encoding="utf-8")
        made.sync()
        yield made, project


def test_whatever_a_run_has_done_is_there_after_a_power_cut(toy: tuple[Disk, Path]) -> None:
    made, project = toy
    told = run(project)
    made.cut()
    assert whole(project) == keys(told, "finished") and len(whole(project)) == 4
    assert "joined 5 characters" in [
        log.read_text("utf-8").strip() for log in project.glob(".lorapipe/store/*/log.txt")
    ]
    assert (project / "deep/in/here/result.html").read_text("utf-8") == "<p>2</p>"
    status = subprocess.run(command("runs"), cwd=project, env=environment(), capture_output=True, encoding="utf-8")
    assert " done " in status.stdout
    assert {each.name for each in (project / "outputs").iterdir()} == {"text", "tally", "other", "kept"}
    history = subprocess.run(
        command("runs", "1"), cwd=project, env=environment(), capture_output=True, encoding="utf-8"
    )
    assert "finished" in history.stdout and "result.html" in history.stdout
    assert set(how_ended(run(project)).values()) == {"reused"}


@pytest.mark.parametrize("event", ["started", "progress", "finished"])
def test_a_power_cut_in_the_middle_costs_what_was_not_done(toy: tuple[Disk, Path], event: str) -> None:
    made, project = toy
    stage = "tally" if event == "progress" else "other"
    with stopped_at(project, lambda each: each["event"] == event and each["stage"] == stage) as told:
        made.cut()
    assert keys(told, "finished") <= whole(project)
    again = run(project)
    assert keys(told, "finished") <= keys(again, "reused") and not keys(told, "finished") & keys(again, "started")
    assert (project / "deep/in/here/result.html").read_text("utf-8") == "<p>2</p>"
    assert len(whole(project)) == 4


# -------------------------------------------------------------------------------------------------- everybody who writes

WRITER = """\
import sys, time
from pathlib import Path
from lorapipe.atomic import write_text
from lorapipe.checksum import writing
from lorapipe.pipeline.ledger import Ledger
from lorapipe.job_queue.queue import Queue
from lorapipe.watch.unpack import Limits, unpack

root = Path(sys.argv[1])
queue = Queue(root / "home")
for title in ("first", "second"):
    queue.add(root / "p.yaml", title=title)
claim = queue.claim("cpu")
queue.finish(claim, "done")
ledger = Ledger(root / "project")
ledger.open()
ledger.records.end(ledger.records.begin("p.yaml"), "done")
write_text("hello", root / "new" / "folder" / "file.txt")
write_text("after", root / "old.txt")
unpack(root / "pictures.zip", root / "unpacked" / "here", Limits(1e9, 100, 0))
with writing(root / "checkpoints" / "state") as file:
    file.write(b"state" * 1000)
print("ready", flush=True)
time.sleep(600)  # with its databases open: closing them would write more
"""


def test_whoever_writes_a_file_for_good_syncs_it(tmp_path: Path) -> None:
    """The queue, the history, new and replaced text files, an unpacked zip, the state of a training."""
    with disk(tmp_path) as made:
        root = made.mounted
        for folder in ("home", "project"):
            (root / folder).mkdir()
        (root / "old.txt").write_text("before")
        with zipfile.ZipFile(root / "pictures.zip", "w") as archive:
            for number in range(5):
                archive.writestr(f"pictures/deep/{number}.txt", f"picture {number}")
        made.sync()
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(root)], env=environment(), stdout=subprocess.PIPE, encoding="utf-8"
        )
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        with frozen(process.pid):
            made.cut()
        process.wait()
        process.stdout.close()
        with closing(Queue(root / "home")) as queue:
            assert {job.title: job.state for job in queue.jobs()} == {"first": "done", "second": "waiting"}
        with closing(Ledger(root / "project")) as ledger:
            assert [(pipeline, status) for _, pipeline, _, _, status in ledger.records.runs()] == [("p.yaml", "done")]
        assert (root / "new" / "folder" / "file.txt").read_text() == "hello" and (
            root / "old.txt"
        ).read_text() == "after"
        unpacked = sorted((root / "unpacked" / "here").rglob("*.txt"))
        assert [file.read_text() for file in unpacked] == [f"picture {number}" for number in range(5)]
        with reading(root / "checkpoints" / "state") as file:
            assert file.read() == b"state" * 1000
        assert not [*root.rglob("*.part")]


# -------------------------------------------------------------------------------------------------------------- a training

TRAINING = """\
stages:
  dataset: {uses: prepare, images: ./pictures, duplicate_tolerance: 0, base: {family: sd15, checkpoint: ./base}}
  train: {uses: train, dataset: $dataset, adapter: {type: lora, rank: 2}, steps: 24, snapshots: 6}
  file: {uses: export, weights: $train, to: out/penny.safetensors}
"""
EVERY = 4
"""Steps from one snapshot to the next."""
INLINE = ("--on", "inline")
"""Options with which a run loads PyTorch only once: it has no worker processes."""


@pytest.fixture
def materials(tmp_path: Path) -> Path:
    """Create pictures, a tiny base and a pipeline."""
    from lorapipe.models.sd15 import SD15

    folder = tmp_path / "materials"
    folder.mkdir()
    SD15.tiny(folder / "base")
    tiny.draw(folder / "pictures")
    (folder / "p.yaml").write_text(TRAINING, encoding="utf-8")
    return folder


@contextmanager
def project_on_a_disk(materials: Path, folder: Path) -> Iterator[tuple[Disk, Path]]:
    with disk(folder, 160) as made:
        project = made.mounted / "project"
        subprocess.run(["cp", "-r", str(materials), str(project)], check=True)
        made.sync()
        yield made, project


def files_of(project: Path) -> dict[str, str]:
    """Return digests of a training's files. (An exported file contains the time of its snapshot.)"""
    files = [*project.glob(".lorapipe/store/*/out/snapshots/*"), *project.glob(".lorapipe/store/*/out/metrics.jsonl")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def undisturbed(materials: Path, folder: Path) -> dict[str, str]:
    """The files of an undisturbed training, after which the power is cut."""
    from safetensors.torch import load_file

    with project_on_a_disk(materials, folder) as (made, project):
        told = run(project, *INLINE)
        files, before = files_of(project), (project / "out/penny.safetensors").read_bytes()
        made.cut()
        assert whole(project) == keys(told, "finished") and files_of(project) == files
        assert (project / "out/penny.safetensors").read_bytes() == before
        assert load_file(project / "out/penny.safetensors")
        assert set(how_ended(run(project, *INLINE)).values()) == {"reused"}
    return files


def test_a_training_outlasts_a_power_cut_at_its_end_and_goes_on_after_one_on_its_way(
    materials: Path, tmp_path: Path
) -> None:
    """It resumes from its last snapshot or a later state, not from the beginning, and gives the same files."""
    made_in_one_go = undisturbed(materials, tmp_path / "undisturbed")
    assert len(made_in_one_go) == 7  # six snapshots and the curve
    with project_on_a_disk(materials, tmp_path / "cut") as (made, project):
        with stopped_at(project, lambda each: each["event"] == "metric" and each["step"] > EVERY, *INLINE) as told:
            made.cut()
        assert keys(told, "finished") <= whole(project)
        again = run(project, *INLINE)
        assert how_ended(again)["dataset"] == "reused" and "failed" not in how_ended(again).values()
        if how_ended(again)["train"] == "finished":  # on a busy machine it may have ended before it was suspended
            assert steps(again)[0] > (steps(told)[-1] - 1) // EVERY * EVERY
        assert files_of(project) == made_in_one_go


def steps(told: list[dict[str, Any]]) -> list[int]:
    return [each["step"] for each in told if each["event"] == "metric"]
