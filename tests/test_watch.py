"""The inbox: when an entry is complete, how it becomes a job, and what is refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from corpus.drops import TOYS, Clock, photographs

from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.job_queue.job import QueueJob
from lorapipe.job_queue.queue import Queue
from lorapipe.job_queue.runner import QueueRunner
from lorapipe.pipeline import digests, loader
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.training.caption_augment import Captioning
from lorapipe.watch import job_hooks
from lorapipe.watch.folder_names import title_of, trigger_of
from lorapipe.watch.folder_state import inspect_path
from lorapipe.watch.inbox import Inbox
from lorapipe.watch.job_hooks import InboxHooks, Terms
from lorapipe.watch.pipeline_writer import DroppedFolder, InboxPipeline, write
from lorapipe.watch.settings import WatchSettings, watching
from lorapipe.watch.settling import STATUS, Settling, settled
from lorapipe.watch.unpack import Limits, unpack

ROOT = Path(__file__).parents[1]
PENNY = ROOT / "pipelines" / "examples" / "penny"
unix = pytest.mark.skipif(sys.platform == "win32", reason="links and signals as Unix has them")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def names(dropped: object) -> list[str]:
    return [each.path.name for each in dropped]


# ------------------------------------------------------------------------------------------------------ when it is complete


def test_a_folder_is_given_out_once_when_it_has_been_quiet(inbox: Path, clock: Clock) -> None:
    settling = Settling(inbox, quiet=10, clock=clock)
    photographs(inbox / "penny")
    assert settling.poll() == []
    clock.now += 9.9
    assert settling.poll() == [] and settling.pause() <= 0.5
    clock.now += 0.1
    assert names(settling.poll()) == ["penny"]
    clock.now += 100
    assert settling.poll() == [] and settling.pause() >= 1


@pytest.mark.parametrize("change", ["grows", "more", "gone", "touched", "hidden"])
def test_every_change_begins_the_quiet_anew(inbox: Path, clock: Clock, change: str) -> None:
    settling = Settling(inbox, quiet=10, clock=clock)
    folder = photographs(inbox / "penny")
    settling.poll()
    clock.now += 9
    match change:
        case "grows":
            (folder / "1.png").write_bytes(b"longer than before")
        case "more":
            photographs(folder / "sub" / "deep", 1)
        case "gone":
            (folder / "1.png").unlink()
        case "touched":
            os.utime(folder / "1.png", ns=(1, 1))
        case "hidden":  # a copy in progress
            (folder / ".2.png.part").write_bytes(b"half")
    assert settling.poll() == []
    clock.now += 9
    assert settling.poll() == []
    clock.now += 1
    assert names(settling.poll()) == ["penny"]


def test_what_is_added_later_is_given_out_again(inbox: Path, clock: Clock) -> None:
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        clock.now += seconds
        if len(waits) == 60:
            photographs(inbox / "penny", 5)

    photographs(inbox / "penny")
    drops = settled(inbox, 3, clock=clock, wait=wait)
    assert [next(drops).state.pictures for _ in range(2)] == [3, 5]
    assert max(waits) <= 1.5 and clock.now < 1000 + 80


def test_a_file_with_a_time_in_the_future_or_long_ago_is_a_file(inbox: Path, clock: Clock) -> None:
    folder = photographs(inbox / "penny")
    os.utime(folder / "0.png", (4e9, 4e9))
    os.utime(folder / "1.png", (0, 0))
    settling = Settling(inbox, quiet=10, clock=clock)
    settling.poll()
    clock.now += 10
    assert names(settling.poll()) == ["penny"]


def test_what_is_no_set_of_pictures_is_not_given_out_and_said_why(inbox: Path, clock: Clock) -> None:
    (inbox / "empty").mkdir()
    (inbox / "notes").mkdir()
    (inbox / "notes" / "a.txt").write_text("a", encoding="utf-8")
    (inbox / "loose.png").write_bytes(b"p")
    (inbox / "set.rar").write_bytes(b"r")
    (inbox / ".hidden").mkdir()
    photographs(inbox / "only" / "reg")
    with zipfile.ZipFile(inbox / "texts.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    settling = Settling(inbox, quiet=1, clock=clock)
    for _ in range(4):
        assert settling.poll() == []
        clock.now += 50
    said = {name: look.trouble for name, look in settling.arriving().items()}
    assert said == {
        "empty": "",
        "notes": "",
        "only": "",
        "loose.png": "is ignored: put it into a folder",
        "set.rar": "is not unpacked: unpack it, or pack it as a zip",
        "texts.zip": "has no picture",
    }


def test_a_zip_that_is_not_whole_is_given_time_and_then_to_its_failure(inbox: Path, clock: Clock) -> None:
    whole = inbox.parent / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a.png", b"p" * 1000)
    data = whole.read_bytes()
    settling = Settling(inbox, quiet=10, patience=60, clock=clock)
    (inbox / "slow.zip").write_bytes(data[:400])
    (inbox / "broken.zip").write_bytes(data[:500])
    settling.poll()
    clock.now += 30
    assert settling.poll() == []
    (inbox / "slow.zip").write_bytes(data)
    settling.poll()
    clock.now += 10
    assert names(settling.poll()) == ["slow.zip"]
    clock.now += 20
    assert names(settling.poll()) == ["broken.zip"]


def test_an_inbox_that_is_away_for_a_while_loses_nothing(inbox: Path, clock: Clock) -> None:
    photographs(inbox / "penny")
    settling = Settling(inbox, quiet=1, clock=clock)
    settling.poll()
    clock.now += 1
    assert names(settling.poll()) == ["penny"]
    inbox.rename(inbox.with_name("away"))
    assert settling.poll() == [] and "cannot be read" in settling.trouble
    inbox.with_name("away").rename(inbox)
    clock.now += 9
    assert settling.poll() == [] and not settling.trouble


def test_many_files_and_many_folders(inbox: Path, clock: Clock) -> None:
    for index in range(200):
        photographs(inbox / f"folder {index}", 1)
    photographs(inbox / "large", 2000)
    settling = Settling(inbox, quiet=1, clock=clock)
    began = time.perf_counter()
    settling.poll()
    took = time.perf_counter() - began
    clock.now += 1
    assert len(settling.poll()) == 201
    clock.now += 1
    began = time.perf_counter()
    settling.poll()
    assert time.perf_counter() - began < took / 10  # settled entries are checked rarely without an event
    (inbox / "large" / "one more.png").touch()
    settling.poll({"large"})
    assert "large" in settling.arriving()


@unix
def test_links_that_lead_out_are_refused(inbox: Path, clock: Clock) -> None:
    outside = photographs(inbox.parent / "secret")
    (inbox / "all").symlink_to(outside, target_is_directory=True)
    folder = photographs(inbox / "penny")
    (folder / "more").symlink_to(outside, target_is_directory=True)
    inner = photographs(inbox / "fine")
    (inner / "again.png").symlink_to(inner / "0.png")
    (inner / "circle").symlink_to(inner, target_is_directory=True)
    assert (
        inspect_path(folder).trouble == "more is a link that leads out of the folder"
        and inspect_path(folder).pictures == 3
    )
    assert inspect_path(inner).trouble == "" and inspect_path(inner).pictures == 4
    settling = Settling(inbox, quiet=1, clock=clock)
    settling.poll()
    clock.now += 1
    assert names(settling.poll()) == ["fine", "penny"]
    assert "leads out of the inbox" in settling.arriving()["all"].trouble


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text_are_said_and_stop_nothing(inbox: Path, queue: Queue, toy: Path, clock: Clock) -> None:
    odd = os.fsdecode(b"\xff\xfe")
    photographs(inbox / odd)
    photographs(inbox / "penny")
    (inbox / "penny" / f"{odd}.png").touch()
    photographs(inbox / "fine")
    looked(opened(inbox, queue, clock, toy), clock)
    assert {job.title: job.state for job in work_off(queue)} == {"penny": "failed", "fine": "done"}
    assert "has a name that is not valid text" in (inbox / STATUS).read_text(encoding="utf-8")
    assert "??.png has a name that is not valid text" in queue.job(2).reason


def test_a_queue_that_cannot_be_written_loses_nothing(
    inbox: Path, queue: Queue, toy: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*words: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    photographs(inbox / "one")
    photographs(inbox / "two")
    box = opened(inbox, queue, clock, toy)
    with monkeypatch.context() as patched:
        patched.setattr(queue, "drop", full)
        assert looked(box, clock) == []
    assert [job.title for job in looked(box, clock)] == ["one", "two"]


# ---------------------------------------------------------------------------------------------------------------------- zips

LIMITS = Limits(size=10_000_000, files=50, room=0)


def zipped(path: Path, files: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] = lambda info: None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            archive.writestr(info, data)
    return path


def test_a_zip_is_unpacked_flat_without_what_systems_leave_in_it(tmp_path: Path) -> None:
    files = {"페니/🎉/a.png": b"p", "페니/🎉/10_cat/b.png": b"q", "__MACOSX/._a.png": b"x", "페니/🎉/.DS_Store": b"x"}
    inner = unpack(zipped(tmp_path / "a.zip", files), tmp_path / "out", LIMITS)
    assert inner == tmp_path / "out" / "페니" / "🎉"
    assert sorted(str(file.relative_to(inner)) for file in inner.rglob("*.png")) == ["10_cat/b.png", "a.png"]
    kohya = unpack(zipped(tmp_path / "b.zip", {"10_cat/b.png": b"q"}), tmp_path / "kohya", LIMITS)
    assert kohya == tmp_path / "kohya"


def _link(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize(
    ("files", "change", "said"),
    [
        ({"ok.png": b"p", "../evil.png": b"e"}, None, "outside of its folder"),
        ({"/evil.png": b"e"}, None, "outside of its folder"),
        ({"a/../../evil.png": b"e"}, None, "outside of its folder"),
        ({"..\\evil.png": b"e"}, None, "outside of its folder"),
        ({"C:\\evil.png": b"e"}, None, "outside of its folder"),
        ({"evil.png": b"/etc/passwd"}, _link, "which is a link"),
        ({f"{index}.png": b"p" for index in range(51)}, None, "more than 50 files"),
        ({"large.bmp": b"0" * 10_000_001}, None, "unpacks to more than 0.01 GB"),
    ],
    ids=["up", "absolute", "around", "backslash", "drive", "link", "count", "size"],
)
def test_a_zip_that_means_harm_leaves_nothing(tmp_path: Path, files, change, said: str) -> None:
    path = zipped(tmp_path / "bad.zip", files, change or (lambda info: None))
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match=said):
        unpack(path, tmp_path / "in" / "out", LIMITS)
    assert list((tmp_path / "in").iterdir()) == [] and not (tmp_path / "evil.png").exists()


def test_a_bomb_is_known_by_its_ratio(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "bomb.zip", {f"{index}.bmp": bytes(40_000_000) for index in range(3)})
    with pytest.raises(InputError, match="no pictures do that"):
        unpack(bomb, tmp_path / "out", Limits(1e12, 50, 0))


def test_a_zip_that_lies_about_its_size_or_is_damaged_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": b"0" * 100_000})
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 24 : place + 28] = (10).to_bytes(4, "little")  # the list of contents says 10 bytes
    path.write_bytes(data)
    with pytest.raises(InputError):
        unpack(path, tmp_path / "out", LIMITS)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="not a whole zip file"):
        unpack(path, tmp_path / "out", LIMITS)
    assert not (tmp_path / "out").exists()


def test_a_zip_is_not_begun_where_the_disk_has_no_room(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": b"p"})
    with pytest.raises(InputError, match="are free on the disk"):
        unpack(path, tmp_path / "out", Limits(1e9, 50, 1e18))


# ------------------------------------------------------------------------------------------------------------- the pipeline


@pytest.mark.parametrize(
    ("name", "title", "trigger"),
    [
        ("penny", "penny", "penny"),
        ("10_penny woman", "penny woman", "penny woman"),
        ("고양이 🎉", "고양이 🎉", "고양이 🎉"),
        ("a" * 250, "a" * 100, "a" * 100),
        ("페" * 84, "페" * 33, "페" * 84),
        ("con", "_con", "con"),
        ("my_cat, (red)", "my_cat, (red)", "my cat red"),
        ("what?. ", "what_", "what?."),
        ("...", "lora", "..."),
    ],
)
def test_names_become_files_and_words(name: str, title: str, trigger: str) -> None:
    assert title_of(name) == title and trigger_of(name) == trigger


def made(folder: Path, outputs: Path, *sets: str, pipeline: Path | None = None) -> Pipeline:
    return write(
        InboxPipeline(pipeline, sets, WatchSettings(least=3)),
        DroppedFolder(folder, folder.name, outputs / folder.name, folder.name),
    )


def test_the_pipeline_knows_the_folder(tmp_path: Path) -> None:
    bare = photographs(tmp_path / "10_penny girl", 8)
    (bare / "words.txt").unlink()
    stages = made(bare, tmp_path / "out").stages
    assert stages["dataset"].class_word == "penny girl" and stages["dataset"].repeats == 10
    assert stages["dataset"].images.path == bare and stages["dataset"].min_pictures == 3
    assert stages["lora"].steps.count == 2400 / 8 / 10 and stages["lora"].captions.prefix == ""
    assert stages["file"].to.path == tmp_path / "out" / "10_penny girl" / "10_penny girl.safetensors"
    captioned = photographs(tmp_path / "pny")
    (captioned / "0.txt").write_text("a photo, smiling", encoding="utf-8")
    assert made(captioned, tmp_path / "out").stages["lora"].captions.prefix == "pny,"
    (captioned / "0.txt").write_text("a photo of PNY, smiling", encoding="utf-8")
    assert made(captioned, tmp_path / "out").stages["lora"].captions.prefix == ""
    assert loader.load(tmp_path / "out" / "pny" / "pipeline.yaml").stages  # which a user can run by hand


def test_a_job_has_the_settings_that_new_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them: the inbox adds where results go, its least number of pictures, and a number of snapshots."""
    monkeypatch.chdir(tmp_path)
    assert main(["new", str(PENNY), "--difficulty", "D", "--vram", "12", "--trigger", "penny", "--to", "new.yaml"]) == 0
    new, job = loader.load("new.yaml").stages, made(PENNY, tmp_path / "out").stages
    assert [*new] == [*job]
    for name, stage in new.items():
        own = {"dataset": ("min_pictures",), "lora": ("snapshots",), "file": ("to",)}.get(name, ())
        theirs = {knob: getattr(job[name], knob) for knob in own}
        assert job[name] == replace(stage, **theirs)


def test_an_inbox_says_what_new_would_ask_for_and_a_folder_says_it_for_itself(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "ink", 30)
    assert made(folder, tmp_path / "out", "lora.subject=style").stages["grid"].kind == "style"
    assert made(folder, tmp_path / "out").stages["grid"].kind == "subject"
    (folder / "lorapipe.yaml").write_text("stages: {lora: {subject: style}}", encoding="utf-8")
    assert made(folder, tmp_path / "out").stages["grid"].kind == "style"
    style = WatchSettings(least=3, subject="style", quality="poor", aim="training-speed")
    dropped = DroppedFolder(photographs(tmp_path / "oil", 30), "oil", tmp_path / "out" / "oil", "oil")
    assert write(InboxPipeline(None, (), style), dropped).stages["grid"].kind == "style"


def test_uneven_subfolders_are_balanced_unless_somebody_sets_the_dataset(tmp_path: Path) -> None:
    for name, count in (("gown", 12), ("armour", 4)):
        photographs(tmp_path / "penny" / name, count)
    stages = made(tmp_path / "penny", tmp_path / "out").stages
    assert (stages["gown-pictures"].repeats, stages["armour-pictures"].repeats) == (1, 3)
    assert made(tmp_path / "penny", tmp_path / "out", "dataset.resolution=96").stages["dataset"].resolution.width == 96
    (tmp_path / "penny" / "lorapipe.yaml").write_text("stages: {dataset: {held_out: 0}}", encoding="utf-8")
    assert made(tmp_path / "penny", tmp_path / "out").stages["dataset"].held_out == 0


def test_regularisation_pictures_are_prepared_apart(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "penny" / "10_my_cat")
    photographs(tmp_path / "penny" / "Reg" / "1_woman", 2)
    pipeline = made(folder.parent, tmp_path / "out")
    assert pipeline.needs["lora"] == ("dataset", "class")
    assert pipeline.stages["class"].images.path == tmp_path / "penny" / "Reg"
    assert pipeline.stages["dataset"].exclude == ("Reg",)
    assert pipeline.stages["class"].captions == Captioning(), "the trigger word is the subject's alone"
    assert pipeline.stages["file"].trigger == "my_cat"  # as its captions say it
    assert pipeline.stages["lora"].steps.count * 3 * 10 * 2 == pytest.approx(2400, rel=0.03)


def test_a_folders_own_settings_count_most(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "penny")
    own = "vars: {trigger: pny, steps: 50}\nstages:\n  lora: {adapter: {rank: 4}, batch: 2}\n"
    (folder / "lorapipe.yaml").write_text(own, encoding="utf-8")
    stages = made(folder, tmp_path / "out", "vars.steps=70", "lora.batch=8", "lora.seed=3", "grid.cfg=5").stages
    lora = stages["lora"]
    assert (lora.steps.count, lora.batch, lora.seed, lora.adapter.rank, lora.adapter.name) == (50, 2, 3, 4, "locon")
    assert stages["grid"].prompts[0].startswith("pny,") and stages["grid"].cfg == 5
    (folder / "lorapipe.yaml").write_text("stages:\n  lora: {sede: 4}\n  flie: {uses: export}\n", encoding="utf-8")
    with pytest.raises(InputError, match="Did you mean") as caught:
        made(folder, tmp_path / "out")
    assert f"{folder / 'lorapipe.yaml'}:2:10 lora.sede" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages: {file: {to: /tmp/elsewhere.safetensors}}", "may only write into the folder"),
        ("stages: {file: {to: ../../up.safetensors}}", "may only write into the folder"),
        ("extends: /etc/passwd", "cannot extend other files"),
        ("tune: {rounds: 100}", "cannot ask to be tuned"),
        ("[1, 2]", "is not a mapping"),
        ("vars: {trigger: [", "lorapipe.yaml:1:18: this is not YAML"),
    ],
)
def test_a_folders_own_settings_may_not_do_everything(tmp_path: Path, text: str, said: str) -> None:
    folder = photographs(tmp_path / "penny")
    (folder / "lorapipe.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        made(folder, tmp_path / "out")


@pytest.mark.parametrize("name", ["${images}", "yes", "1e-4", 'say "hi": #1', "$dataset", "🎉고양이", "a\u0085b"])
def test_odd_names_mean_themselves(tmp_path: Path, name: str) -> None:
    stages = made(photographs(tmp_path / "in" / name), tmp_path / "out").stages
    assert stages["dataset"].images.path == tmp_path / "in" / name
    assert stages["file"].to.path == tmp_path / "out" / name / f"{name}.safetensors"


@pytest.mark.parametrize(
    ("given", "family", "rate"),
    [("", "sd15", 3e-3), ("vars.family=sdxl", "sdxl", None), ("vars.family=sd2", "sd2", None)],
)
def test_there_is_a_pipeline_for_each_kind_of_base(tmp_path: Path, given: str, family: str, rate) -> None:
    (tmp_path / "base.safetensors").write_bytes(b"0" * 64)
    sets = [given, f"vars.checkpoint={tmp_path / 'base.safetensors'}"] if given else []
    try:
        stages = made(photographs(tmp_path / "penny"), tmp_path / "out", *sets).stages
    except InputError as error:  # the file is not a checkpoint
        assert all("base.checkpoint" in str(problem) for problem in error.problems)
        text = (tmp_path / "out" / "penny" / "starting.yaml").read_text(encoding="utf-8")
        assert f"family: {family} " in text
    else:
        assert stages["dataset"].base.name == family and stages["lora"].unet_lr == rate


def test_settings_of_watching_are_checked_together(tmp_path: Path) -> None:
    found, others = watching(["watch.quiet=2", "lora.batch=2", "watch.outputs=out"], tmp_path)
    assert (found.quiet, found.outputs, others) == (2, tmp_path / "out", ["lora.batch=2"])
    with pytest.raises(InputError) as caught:
        watching(["watch.quiet=-1", "watch.laest=3", "watch.webhook=ftp://x"], tmp_path)
    text = str(caught.value)
    assert "--set watch.quiet: -1.0 is below the minimum" in text and "Did you mean 'least'?" in text
    with pytest.raises(InputError, match="not an http URL"):
        watching(["watch.webhook=ftp://x"], tmp_path)


# ------------------------------------------------------------------------------------------------------ from inbox to result


@pytest.fixture
def toy(toys: None, tmp_path: Path) -> Path:
    (tmp_path / "toys.yaml").write_text(TOYS, encoding="utf-8")
    return tmp_path / "toys.yaml"


def opened(inbox: Path, queue: Queue, clock: Clock, pipeline: Path | None, *sets: str, **settings) -> Inbox:
    terms = Terms(WatchSettings(**{"quiet": 1.0, "least": 1, "room": 0.0, **settings}), pipeline, sets)
    return Inbox(inbox, queue, terms, clock=clock)


def looked(box: Inbox, clock: Clock, seconds: float = 1) -> list[QueueJob]:
    """Scan the inbox, and again after it has settled."""
    everything = {path.name for path in box.folder.iterdir()}
    found = box.poll(everything)
    clock.now += seconds
    return [*found, *box.poll(everything)]


def work_off(queue: Queue, on: str = "inline") -> list[QueueJob]:
    list(QueueRunner(queue, ["cpu"], hooks=InboxHooks(), on=on).events())
    return queue.jobs()


def state_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(f): (f.read_bytes(), f.stat().st_mtime_ns) for f in folder.rglob("*") if f.is_file() and f.name != STATUS
    }


def test_a_dropped_folder_becomes_results_and_the_inbox_is_only_read(
    inbox: Path, queue: Queue, toy: Path, clock: Clock
) -> None:
    photographs(inbox / "penny", text="a b a")
    zipped(inbox / "cat.zip", {"cat/a.png": b"p", "cat/w.txt": b"a a a"})
    before = state_of(inbox)
    box = opened(inbox, queue, clock, toy)
    assert [job.title for job in looked(box, clock)] == ["cat", "penny"]
    assert "penny: waiting" in (inbox / STATUS).read_text(encoding="utf-8")
    assert [job.state for job in work_off(queue)] == ["done", "done"]
    outputs = inbox.parent / "outputs"
    assert (outputs / "penny" / "penny.html").read_text() == "<p>2</p>"
    assert (outputs / "cat" / "cat.html").read_text() == "<p>3</p>"
    assert "finished" in (outputs / "cat" / "log.txt").read_text(encoding="utf-8")
    assert looked(box, clock) == [] and looked(box, clock, 1000) == []
    assert f"penny: done, see {outputs / 'penny'}" in (inbox / STATUS).read_text(encoding="utf-8")
    assert state_of(inbox) == before


def test_more_pictures_are_a_new_version_that_reuses(inbox: Path, queue: Queue, toy: Path, clock: Clock) -> None:
    folder = photographs(inbox / "penny")
    box = opened(inbox, queue, clock, toy)
    looked(box, clock)
    work_off(queue)
    (folder / "more.txt").write_text("a", encoding="utf-8")
    [job] = looked(box, clock)
    assert job.version == 2
    work_off(queue)
    outputs = inbox.parent / "outputs" / "penny"
    assert (outputs / "penny.html").exists() and (outputs / "penny-v2.html").read_text() == "<p>3</p>"
    (folder / "more.txt").unlink()
    os.utime(folder / "0.png", (5, 5))  # restored: the same content makes no new job, whatever its times are
    assert looked(box, clock) == []
    assert "1 caption added: more.txt" in (outputs / "log.txt").read_text(encoding="utf-8")


def test_two_watchers_make_one_job_of_it(inbox: Path, queue: Queue, toy: Path) -> None:
    for index in range(5):
        photographs(inbox / str(index))
    clocks, other = [Clock(), Clock()], Queue(queue.root)
    boxes = [opened(inbox, each, clock, toy) for each, clock in zip((queue, other), clocks, strict=True)]
    found = []

    def watch(box: Inbox, clock: Clock) -> None:
        found.extend(looked(box, clock))

    threads = [threading.Thread(target=watch, args=pair) for pair in zip(boxes, clocks, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert sorted(job.title for job in found) == ["0", "1", "2", "3", "4"] and queue.count("waiting") == 5


def test_failures_are_in_plain_words_and_the_next_one_goes(inbox: Path, queue: Queue, toy: Path, clock: Clock) -> None:
    photographs(inbox / "few", 1)
    gone = photographs(inbox / "gone", 3)
    photographs(inbox / "good", 3)
    (inbox / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    box = opened(inbox, queue, clock, toy, least=2, patience=1.0)
    looked(box, clock)
    shutil.rmtree(gone)
    reasons = {job.title: (job.state, job.reason) for job in work_off(queue)}
    assert reasons["good"] == ("done", "")
    assert reasons["few"][0] == "failed" and "2 pictures needed, 1 there." in reasons["few"][1]
    assert "was removed before its job began" in reasons["gone"][1]
    assert "is not a whole zip file" in reasons["broken"][1]
    text = (inbox.parent / "outputs" / "few" / "failed.txt").read_text(encoding="utf-8")
    assert "2 pictures needed, 1 there." in text and "lorapipe queue retry" in text
    box.write_status()
    assert "few: failed: " in (inbox / STATUS).read_text(encoding="utf-8")
    (inbox / "few" / "two.png").write_bytes(b"p")
    [again] = looked(box, clock)
    work_off(queue)
    assert queue.job(again.number).state == "done" and not (again.folder / "failed.txt").exists()


def test_odd_names_all_get_a_place_of_their_own(inbox: Path, queue: Queue, toy: Path, clock: Clock) -> None:
    odd = ["고양이", "🎉 party", "x" * 250, "Penny", "penny", "con", "${name}", "two  spaces "]
    for name in odd:
        photographs(inbox / name)
    (inbox.parent / "outputs" / "con").mkdir(parents=True)
    (inbox.parent / "outputs" / "con" / "mine.txt").write_text("mine", encoding="utf-8")
    looked(opened(inbox, queue, clock, toy), clock)
    jobs = work_off(queue)
    assert [job.state for job in jobs] == ["done"] * len(odd)
    assert len({str(job.folder).casefold() for job in jobs}) == len(odd)
    assert all((job.folder / f"{job.title}.html").exists() for job in jobs)


def test_a_file_that_cannot_be_read_is_given_time_and_then_said(
    inbox: Path, queue: Queue, toy: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photographs(inbox / "penny")
    read = digests.read_digest

    def forbidden(name: str, *words: object) -> str:
        if name.endswith("1.png"):
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return read(name)

    monkeypatch.setattr(digests, "read_digest", forbidden)
    box = opened(inbox, queue, clock, toy, patience=60.0)
    assert looked(box, clock) == []
    assert "1.png: cannot be read: Permission denied" in (inbox / STATUS).read_text(encoding="utf-8")
    clock.now += 60
    assert len(box.poll()) == 1
    monkeypatch.setattr(digests, "read_digest", read)
    folder.joinpath("0.txt").write_text("a", encoding="utf-8")
    assert [each.version for each in looked(box, clock)] == [2]


def test_a_full_disk_is_waited_out(
    inbox: Path, queue: Queue, toy: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs(inbox / "penny")
    looked(opened(inbox, queue, clock, toy, room=2.0), clock)
    usage = shutil.disk_usage(inbox)
    monkeypatch.setattr(job_hooks.shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    assert [job.state for job in work_off(queue)] == ["waiting"]
    assert queue.jobs()[0].reason.startswith("waits for disk space: 0.0 GB are free")
    monkeypatch.setattr(job_hooks.shutil, "disk_usage", lambda path: usage._replace(free=10**12))
    assert [(job.state, job.reason) for job in work_off(queue)] == [("done", "")]


def test_a_command_and_a_webhook_are_told(inbox: Path, queue: Queue, toy: Path, clock: Clock) -> None:
    got: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    photographs(inbox / "penny; touch evil", 3)
    photographs(inbox / "few", 1)
    script = inbox.parent / "told.py"
    script.write_text(
        "import os, sys\nfacts = [os.environ['LORAPIPE_NAME'], os.environ['LORAPIPE_STATE']]\n"
        "open(sys.argv[1], 'a').write(' '.join(facts) + '\\n')\n"
    )
    told = inbox.parent / "told.txt"
    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = f'"{sys.executable}" "{script}" "{told}"'
        webhook = f"http://127.0.0.1:{server.server_port}/"
        looked(opened(inbox, queue, clock, toy, least=2, command=command, webhook=webhook), clock)
        work_off(queue)
        server.shutdown()
    assert told.read_text() == "few failed\npenny; touch evil done\n"
    assert [(each["name"], each["state"]) for each in got] == [("few", "failed"), ("penny; touch evil", "done")]
    assert "2 pictures needed" in got[0]["reason"]


def test_a_notification_that_fails_is_only_written_down(inbox: Path, queue: Queue, toy: Path, clock: Clock) -> None:
    photographs(inbox / "penny")
    looked(opened(inbox, queue, clock, toy, command="no-such-program", webhook="http://127.0.0.1:1/"), clock)
    [job] = work_off(queue)
    log = (job.folder / "log.txt").read_text(encoding="utf-8")
    assert job.state == "done" and "the command could not be run" in log and "the webhook could not be called" in log


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["inbx"], "Did you mean 'inbox'?"),
        (["inbox", "--set", "watch.outputs=inbox/out"], "contains the other"),
        (["inbox", "--set", "lora.stesp=4"], "Did you mean 'steps'?"),
        (["inbox", "--set", "watch.quite=4"], "Did you mean 'quiet'?"),
        (["inbox", "--device", "gpu"], "'gpu' is not a device"),
        (["inbox", "--pipeline", "toy.yaml"], "toys.yaml'?"),
        (["inbox", "--pipeline", "same.yaml"], "is the same for every folder"),
        (["inbox", "--pipeline", "bare.yaml"], "there is no variable 'images'"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_mistakes_are_said_before_anything_is_watched(
    inbox: Path, queue: Queue, toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(inbox.parent)
    Path("same.yaml").write_text(TOYS.replace("${folder}/${name}", "result"), encoding="utf-8")
    Path("bare.yaml").write_text("stages:\n  text: {uses: words, folder: inbox}\n", encoding="utf-8")
    assert main(["watch", *words]) == 2
    assert said in capsys.readouterr().err and list(inbox.iterdir()) == []


# ----------------------------------------------------------------------------------------------------------- whole programs


def started(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "lorapipe", "watch", *words], stdout=subprocess.PIPE)


def until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@unix
def test_a_killed_watcher_and_worker_cost_nothing_but_time(inbox: Path, queue: Queue, toy: Path) -> None:
    words = [str(inbox), "--pipeline", str(toy), "--device", "cpu"]
    for setting in ("watch.quiet=0.3", "watch.least=1", "watch.room=0", "tally.steps=100", "tally.pause=0.02"):
        words += ["--set", setting]
    photographs(inbox / "penny")
    first = started(*words)
    until(queue.progress)
    os.kill(first.pid, signal.SIGKILL)  # the worker is an orphan now
    first.communicate()
    photographs(inbox / "later")
    second = started(*words)
    until(lambda: queue.progress() and queue.jobs()[0].attempts == 2)
    children = Path(f"/proc/{second.pid}/task/{second.pid}/children")
    if children.exists():
        until(lambda: (queue.progress().get(1) or {"step": 0})["step"] > 20)
        for child in _below(second.pid):
            os.kill(child, signal.SIGKILL)
    until(lambda: queue.count("done") == 2)
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=20)
    assert second.returncode == 130
    assert {job.title: (job.state, job.version) for job in queue.jobs()} == {"penny": ("done", 1), "later": ("done", 1)}
    runs = [
        json.loads(line) for line in (queue.job(1).folder / ".lorapipe/runs/2/events.jsonl").read_text().splitlines()
    ]
    assert [each["stage"] for each in runs if each["event"] == "finished"] == ["tally", "kept"]  # text was done before


def _below(process: int) -> list[int]:
    """Return the worker processes of a program."""
    found = subprocess.run(["ps", "--ppid", str(process), "-o", "pid="], capture_output=True, check=False)
    return [int(word) for word in found.stdout.split()]


def test_a_folder_of_pictures_becomes_a_lora(inbox: Path, queue: Queue) -> None:
    """A few steps of the built-in pipeline on the pocket base."""
    (inbox / "penny").mkdir()
    for name in sorted(PENNY.iterdir())[:12]:
        shutil.copy(name, inbox / "penny")
    words = [str(inbox), "--device", "cpu", "--set", "watch.quiet=0.3"]
    words += [
        "--set",
        "vars.steps=4",
        "--set",
        "lora.snapshots=2",
        "--set",
        "lora.batch=1",
        "--set",
        "lora.preview_prompts=[]",
    ]
    words += [
        "--set",
        "grid.pictures=1",
        "--set",
        "grid.steps=2",
        "--set",
        "grid.strengths=[1.0]",
        "--set",
        "grid.snapshots=1",
    ]
    watcher = started(*words)
    until(lambda: queue.jobs() and queue.jobs()[0].state not in ("waiting", "running"), 300)
    watcher.terminate()
    watcher.communicate(timeout=20)
    [job] = queue.jobs()
    assert (job.state, job.reason, job.title) == ("done", "", "penny")
    there = {file.relative_to(job.folder).as_posix() for file in job.folder.rglob("*") if ".lorapipe" not in file.parts}
    wanted = {"penny.safetensors", "report.html", "grid.png", "pictures.jpg", "log.txt", "pipeline.yaml"}
    assert wanted | {"snapshots/penny-000002.safetensors", "snapshots/penny-000004.safetensors"} <= there
    assert "penny: done" in (inbox / STATUS).read_text(encoding="utf-8")
    assert main(["plan", str(job.folder / "pipeline.yaml")]) == 0
