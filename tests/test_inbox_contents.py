"""Whatever is put into an inbox, the watcher continues, reports problems, and handles the other entries."""

from __future__ import annotations

import os
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from corpus.drops import IRREGULAR, TOYS, Clock, photographs

from lorapipe.cli import main
from lorapipe.errors import InputError
from lorapipe.job_queue.job import QueueJob
from lorapipe.job_queue.queue import Queue
from lorapipe.job_queue.runner import QueueRunner
from lorapipe.pipeline.digests import Digests, read_digest
from lorapipe.pipeline.ledger_database import LedgerDatabase
from lorapipe.regular_files import open_inside, open_regular, read_regular
from lorapipe.spec import Source
from lorapipe.watch.inbox import Inbox
from lorapipe.watch.job_hooks import InboxHooks, Terms
from lorapipe.watch.settings import WatchSettings
from lorapipe.watch.settling import STATUS

unix = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and sockets as Unix has them")


@pytest.fixture
def watched(inbox: Path, queue: Queue, toys: None) -> Callable[..., list[QueueJob]]:
    """Scan the inbox until all entries have settled, run the jobs, and return them."""
    clock = Clock()
    toy = inbox.parent / "toys.yaml"
    toy.write_text(TOYS, encoding="utf-8")

    def watch(**settings: object) -> list[QueueJob]:
        known: dict[str, object] = {"quiet": 1.0, "patience": 2.0, "least": 1, "room": 0.0, **settings}
        box = Inbox(inbox, queue, Terms(WatchSettings(**known), toy, ()), clock=clock)
        for _ in range(3):
            box.poll()
            clock.now += 100
        list(QueueRunner(queue, ["cpu"], hooks=InboxHooks(), on="inline").events())
        box.write_status()
        return queue.jobs()

    return watch


def said(inbox: Path, name: str) -> str:
    """Return an entry's text in the status file."""
    lines = (inbox / STATUS).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith(f"{name}: "))


# --------------------------------------------------------------------------------------------------- what is no file


@unix
def test_what_is_no_file_beside_the_folders_is_said_and_stops_nothing(inbox: Path, watched) -> None:
    for kind, (make, _) in IRREGULAR.items():
        for ending in (".zip", ".png", ""):
            make(inbox / f"{kind}{ending}")
    photographs(inbox / "fine")
    tracemalloc.start()
    jobs = watched()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(job.title, job.state) for job in jobs] == [("fine", "done")]
    for kind, (_, words) in IRREGULAR.items():
        assert words in said(inbox, f"{kind}.zip")
        assert kind == "sparse" or (words in said(inbox, f"{kind}.png") and words in said(inbox, kind))
    assert peak < 50_000_000


@unix
def test_what_is_no_file_in_a_folder_is_said_and_stops_nothing(inbox: Path, watched) -> None:
    names = ("lorapipe.yaml", "4.png", "0.txt", "sub/README.txt")
    odd = {f"{kind} as {Path(name).stem}": (kind, name) for kind in IRREGULAR for name in names}
    for title, (kind, name) in odd.items():
        path = photographs(inbox / title) / name
        path.parent.mkdir(exist_ok=True)
        IRREGULAR[kind][0](path)
    photographs(inbox / "fine")
    jobs = {job.title: job for job in watched()}
    assert jobs["fine"].state == "done"
    for title, (kind, name) in odd.items():
        words = IRREGULAR[kind][1]
        assert jobs[title].state == "failed" and Path(name).name in jobs[title].reason and words in jobs[title].reason
        assert words in said(inbox, title)


@unix
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "linked pipe", "folder"])
def test_what_lies_in_the_status_files_place_is_left_alone(inbox: Path, queue: Queue, watched, kind: str) -> None:
    path = inbox / STATUS
    path.mkdir() if kind == "folder" else IRREGULAR[kind][0](path)
    before = path.lstat()
    photographs(inbox / "fine")
    tracemalloc.start()
    assert [job.state for job in watched()] == ["done"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.lstat().st_ino == before.st_ino and path.lstat().st_mode == before.st_mode and peak < 50_000_000
    told: list[str] = []
    stop = threading.Event()
    box = Inbox(inbox, queue, Terms(WatchSettings(quiet=1.0, room=0.0), None, ()))
    box.run(lambda job: None, lambda text: (told.append(text), stop.set()), stop)
    assert STATUS in told[0] and "remove it" in told[0]


@unix
def test_a_file_that_may_not_be_read_is_said_and_stops_nothing(inbox: Path, watched) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (photographs(inbox / "closed") / "1.png").chmod(0)
    photographs(inbox / "fine")
    assert {job.title: job.state for job in watched()} == {"fine": "done", "closed": "failed"}
    assert "1.png: cannot be read: Permission denied" in said(inbox, "closed")


@unix
def test_a_link_to_what_is_gone_is_no_picture_and_spoils_none(inbox: Path, watched) -> None:
    (photographs(inbox / "penny") / "3.png").symlink_to("gone.png")
    assert [(job.title, job.state, job.reason) for job in watched()] == [("penny", "done", "")]
    assert Digests(LedgerDatabase(None)).path(inbox / "penny").startswith("sha256:")


def test_a_reason_of_many_lines_does_not_fill_the_status_file(inbox: Path, watched) -> None:
    settings = ", ".join(f"k{number}: 1" for number in range(3000))
    (photographs(inbox / "penny") / "lorapipe.yaml").write_text(f"stages: {{text: {{{settings}}}}}", encoding="utf-8")
    assert [job.state for job in watched()] == ["failed"]
    assert len(said(inbox, "penny")) < 1000 and "… , see" in said(inbox, "penny").replace("…,", "… ,")


def test_a_folder_that_is_too_large_is_told_which_setting_allows_it(inbox: Path, watched) -> None:
    folder = photographs(inbox / "large")
    (folder / "4.png").write_bytes(bytes(3000))
    (inbox / "x.zip").write_bytes(bytes(30_000))
    photographs(inbox / "fine")
    jobs = {job.title: job for job in watched(largest_file=2e-6, largest_zip=2e-5)}
    assert "4.png is larger than 2 kB (watch.largest_file)" in jobs["large"].reason
    assert "larger than 20 kB (watch.largest_zip)" in said(inbox, "x.zip")
    assert jobs["fine"].state == "done"


def test_what_takes_long_to_read_holds_nothing_else_up(inbox: Path, queue: Queue, monkeypatch) -> None:
    """Reading one folder takes as long as the test wants; the other becomes a job meanwhile."""
    from lorapipe.pipeline import digests
    from lorapipe.watch import inbox as watching

    goes_on, read = threading.Event(), digests.read_digest

    def slowly(name: str, *words: object) -> str:
        if f"{os.sep}slow{os.sep}" in name:
            goes_on.wait(30)
        return read(name)

    monkeypatch.setattr(digests, "read_digest", slowly)
    monkeypatch.setattr(watching, "READ_SECONDS", 0.2)
    photographs(inbox / "slow")
    photographs(inbox / "fine")
    clock = Clock()
    box = Inbox(inbox, queue, Terms(WatchSettings(quiet=1.0, least=1, room=0.0), None, ()), clock=clock)
    box.poll()
    clock.now += 100
    found: list[QueueJob] = []
    while not found:
        found = box.poll()
    assert [job.title for job in found] == ["fine"]
    assert said(inbox, "slow") == "slow: is being read"
    goes_on.set()
    found = []
    while not found:
        found = box.poll()
    assert [job.title for job in found] == ["slow"]


# ------------------------------------------------------------------------------------------------ where paths are read


@unix
@pytest.mark.parametrize("kind", ["pipe", "socket", "linked pipe"])
def test_nothing_but_a_file_is_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    IRREGULAR[kind][0](path)
    with pytest.raises(OSError, match="not a file"):
        open_regular(path)
    with pytest.raises(OSError, match="not a file"):
        read_digest(str(path))
    with pytest.raises(InputError, match="not a file"):
        Digests(LedgerDatabase(None), strict=True).path(tmp_path)
    assert Digests(LedgerDatabase(None)).path(tmp_path).startswith("sha256:")
    with pytest.raises(ValueError, match="name a file or a folder"):
        Source.parse("x", tmp_path)
    with pytest.raises(ValueError, match="is a device; name a file or a folder"):
        Source.parse("/dev/zero", tmp_path)


@unix
@pytest.mark.parametrize("knob", ["images: PATH", "base: {family: sd15, checkpoint: PATH}"])
@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_a_pipeline_whose_source_is_no_file_is_refused_in_words(tmp_path: Path, capsys, kind: str, knob: str) -> None:
    IRREGULAR[kind][0](tmp_path / "x")
    settings = {"images": ".", "base": "{family: sd15, checkpoint: pocket}"}
    name, _, value = knob.replace("PATH", "x").partition(": ")
    settings[name] = value
    text = "\n".join(f"    {each}: {value}" for each, value in settings.items())
    (tmp_path / "p.yaml").write_text(f"stages:\n  dataset:\n    uses: prepare\n{text}\n", encoding="utf-8")
    assert main(["check", str(tmp_path / "p.yaml")]) == 2
    assert "name a file or a folder" in capsys.readouterr().err


@unix
def test_a_link_out_of_the_folder_is_not_followed_whatever_lies_there(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    inner = photographs(tmp_path / "in")
    for target in ("secret.txt", "not there"):
        link = inner / f"{target}.link"
        link.symlink_to(tmp_path / target)
        with pytest.raises(OSError, match="leads out of the folder"):
            open_inside(link, inner)
    (inner / "again.txt").symlink_to(inner / "words.txt")
    assert read_regular(open_inside(inner / "again.txt", inner), 100) == b"a b a"
    with pytest.raises(OSError, match="more than 3 bytes"):
        read_regular(open_inside(inner / "words.txt", inner), 3)


def test_a_file_that_grows_while_it_is_read_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "grows"
    path.write_bytes(bytes(1000))
    with path.open("ab") as more, open_regular(path) as file:
        more.write(bytes(1000))
        more.flush()
        with pytest.raises(OSError, match="more than 1 kB"):
            read_regular(file, 1000)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("~nobody-of-this-name/x", "there is no user"),
        ("gone.png", r"Did you mean '\d.png'"),
        ("no/such/folder", "does not exist either"),
        ("0.png/inside", "does not exist"),
        ("a\0b", "is not a path"),
        ("x" * 300, "cannot be a file's name"),
    ],
)
def test_paths_that_lead_nowhere_are_said_in_words(tmp_path: Path, written: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Source.parse(written, photographs(tmp_path / "in"))
