"""Damaged databases: the next command repairs them with one line of output, without losing the history or jobs."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from corpus import databases
from corpus.databases import DAMAGES, statement

from lorapipe import api, registry
from lorapipe.cli import main
from lorapipe.job_queue.database import SCHEMA
from lorapipe.job_queue.queue import Queue
from lorapipe.pipeline import loader
from lorapipe.pipeline.garbage_collection import waste
from lorapipe.pipeline.history import read_run, runs
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.ledger_database import LedgerDatabase

TOYS = Path(__file__).parent / "toys"
PIPELINE = """\
stages:
  text: {uses: words, folder: texts}
  tally: {uses: count, text: $text, word: a}
  kept: {uses: keep, tally: $tally, to: result.html}
"""
Lines = pytest.LogCaptureFixture
UNNOTICED = {name for name in DAMAGES if name.startswith(("journal of", "index of", "page 4", "page 5"))}
"""Damage that SQLite ignores, or in parts that are never read."""
VERSION_1 = """
DROP TABLE used; CREATE TABLE used (run INT, pipeline TEXT, stage TEXT, type TEXT, key TEXT, action TEXT, at REAL);
CREATE INDEX used_by ON used (pipeline, stage, type, at); PRAGMA user_version=1
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with three runs; its ledger has several pages."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "texts").mkdir()
    (folder / "texts" / "one.txt").write_text("a b a c a")
    (folder / "cat.yaml").write_text(PIPELINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOYS))
        patch.setenv("PYTHONPATH", f"{TOYS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        patch.chdir(folder)
        registry._entry_points.cache_clear()
        for sets in (["tally.steps=3"], ["tally.word=b"], []):
            api.run(loader.load("cat.yaml", sets), on="inline")
        with closing(LedgerDatabase(folder / ".lorapipe" / "ledger.db")) as records:
            records.remember((f"/elsewhere/{index}", (index,) * 4, "sha256:" + "ab" * 32) for index in range(300))
            for index in range(300):
                records.use(1, "other.yaml", f"stage {index}", "words", "ab" * 32, 5.0)
        databases.settle(folder / ".lorapipe" / "ledger.db")
        yield folder
    registry._entry_points.cache_clear()


@pytest.fixture
def here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Lines) -> Path:
    """A copy of the project as the current folder."""
    shutil.copytree(finished, tmp_path / "here", symlinks=True)
    monkeypatch.chdir(tmp_path / "here")
    caplog.set_level(logging.WARNING, "lorapipe")
    return tmp_path / "here"


def told(caplog: Lines) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "lorapipe"]


def kept(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if ".damaged-" in each.name)


# ------------------------------------------------------------------------------------------------------------ the ledger


@pytest.mark.parametrize(
    ("name", "first"),
    [
        *((name, "run") for name in DAMAGES),
        *itertools.product(["page 1 noise", "text", "deleted"], ["plan", "runs", "gc"]),
    ],
)
def test_a_damaged_ledger_mends_itself(here: Path, caplog: Lines, capsys, name: str, first: str) -> None:
    DAMAGES[name](here / ".lorapipe" / "ledger.db")
    words = {"plan": ["plan", "cat.yaml"], "run": ["run", "cat.yaml", "--quiet"], "runs": ["runs"], "gc": ["gc", "0"]}
    assert main(words[first]) == 0
    (here / "result.html").unlink()
    assert main(["run", "cat.yaml", "--quiet"]) == 0 and (here / "result.html").read_text() == "<p>3</p>"
    assert main(["why", "tally"]) == 0
    capsys.readouterr()
    assert main(["runs"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed[-3:]] == ["3", "2", "1"]
    assert all(" done " in line and line.endswith("cat.yaml") for line in listed[-3:])
    assert len(told(caplog)) <= 1 and (name in UNNOTICED or len(told(caplog)) == 1)
    if told(caplog) and name != "deleted":
        assert "the damaged file is kept as ledger.damaged-1.db" in told(caplog)[0]
        assert "ledger.damaged-1.db" in kept(here / ".lorapipe")


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE used",
        "DROP TABLE run",
        "DROP TABLE digest",
        "ALTER TABLE run DROP COLUMN status",
        "ALTER TABLE used DROP COLUMN at",
        "PRAGMA user_version=99",
        "PRAGMA user_version=99; ALTER TABLE run ADD COLUMN host TEXT; ALTER TABLE used ADD COLUMN colour",
        "PRAGMA user_version=99; ALTER TABLE run DROP COLUMN status",
        "PRAGMA user_version=0",
        "PRAGMA user_version=-7",
        "DELETE FROM run; DELETE FROM used",
        VERSION_1,
        f"INSERT INTO run (id, pipeline) VALUES ({2**63 - 1}, 'far.yaml'); DELETE FROM used",
    ],
)
def test_another_version_or_program_costs_no_history(here: Path, caplog: Lines, change: str) -> None:
    statement(change)(here / ".lorapipe" / "ledger.db")
    assert main(["run", "cat.yaml", "--quiet"]) == 0
    with closing(Ledger(here)) as ledger:
        found = {run.number: run for run in runs(ledger) if run.number < 10**9}
        assert sorted(found) == [1, 2, 3, 4] and {run.status for run in found.values()} == {"done"}
        assert read_run(ledger, 1).stages["tally"].metrics == {"loss": pytest.approx(1 / 3)}
    assert len(told(caplog)) <= 1


def test_a_later_version_keeps_its_file_and_an_earlier_one_its_own(here: Path, caplog: Lines) -> None:
    file = here / ".lorapipe" / "ledger.db"
    statement("PRAGMA user_version=99; CREATE TABLE host (a); INSERT INTO host VALUES (1); DROP TABLE used")(file)
    before = file.read_bytes()
    for _ in range(2):
        assert main(["run", "cat.yaml", "--quiet"]) == 0
    assert file.read_bytes() == before and len(told(caplog)) == 1 and "a later lorapipe has changed" in told(caplog)[0]
    assert [run.number for run in runs(Ledger(here))] == [5, 4, 3, 2, 1]


def test_gc_knows_what_the_runs_of_another_version_have_used(here: Path) -> None:
    """They use another database: this version knows only their files."""
    with closing(Ledger(here)) as ledger:
        ledger.open()
        manifests = {str(each["key"]): each for each in ledger.manifests()}
        used = {key for run in ledger.run_files(ledger.run_numbers(), manifests) for key in run.used.values()}
        with ledger.records.database.writing() as db:
            db.execute("DELETE FROM run")
            db.execute("UPDATE used SET run = 0, at = 1.0")
        assert used & manifests.keys() and set(ledger.records.last_used().values()) == {1.0}
        waste(ledger, 1.0)
        assert all(ledger.records.last_used()[key] > 1.0 for key in used & manifests.keys())


@pytest.mark.parametrize("noted", [True, False], ids=["with run.json", "of an earlier version"])
def test_history_comes_back_from_the_files_of_the_runs(here: Path, noted: bool) -> None:
    with closing(Ledger(here)) as ledger:
        before = {run.number: run.to_dict() for run in runs(ledger)}
    for file in () if noted else list((here / ".lorapipe" / "runs").glob("*/run.json")):
        file.unlink()
    (here / ".lorapipe" / "ledger.db").unlink()
    with closing(Ledger(here)) as ledger:
        after = {run.number: run.to_dict() for run in runs(ledger)}
        assert ledger.records.current() == {stage.key for stage in read_run(ledger, 3).stages.values()}
    for number, run in before.items():
        for name in ("started", "finished"):
            assert after[number].pop(name) == pytest.approx(run.pop(name), abs=5)
    assert after == before


def test_damage_that_shows_in_the_middle_is_mended_there(here: Path, caplog: Lines) -> None:
    with closing(Ledger(here)) as ledger:
        assert len(ledger.records.runs()) == 3
        ledger.records.database.connection.execute("PRAGMA cache_size=0")
        for page in range(1, 8):
            databases.noisy(page, page)(here / ".lorapipe" / "ledger.db")
        ledger.records.database.connection.execute("PRAGMA shrink_memory")
        number = ledger.records.begin("cat.yaml")
        ledger.records.end(number, "done")
        assert number == 4 and [row[0] for row in ledger.records.runs()] == [4, 3, 2, 1]
    assert len(told(caplog)) == 1


def test_a_ledger_that_is_taken_away_during_its_use_is_there_again(here: Path) -> None:
    with closing(Ledger(here)) as ledger:
        assert ledger.records.begin("cat.yaml") == 4
        (here / ".lorapipe" / "ledger.db").unlink()
        assert [row[0] for row in ledger.records.runs()] == [3, 2, 1]
        ledger.records.end(ledger.records.begin("cat.yaml"), "done")
    assert [run.number for run in runs(Ledger(here))] == [4, 3, 2, 1]


def test_several_processes_mend_it_once(here: Path) -> None:
    databases.noisy(0)(here / ".lorapipe" / "ledger.db")
    command = [sys.executable, "-m", "lorapipe", "runs"]
    others = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [other.communicate(timeout=60) for other in others]
    assert [other.returncode for other in others] == [0] * 4
    assert sum("was damaged" in errors for _, errors in said) == 1
    assert all(len(lines.splitlines()) == 3 for lines, _ in said)


def test_of_many_damaged_files_the_last_are_kept(here: Path) -> None:
    for count in range(5):
        (here / ".lorapipe" / "ledger.db").write_text(f"damage {count}")
        assert main(["runs"]) == 0
    assert [(here / ".lorapipe" / name).read_text() for name in kept(here / ".lorapipe")] == [
        "damage 2",
        "damage 3",
        "damage 4",
    ]


# ------------------------------------------------------------------------------------------------------------- the queue


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a queue with jobs in every state."""
    home = tmp_path_factory.mktemp("full")
    with closing(Queue(home)) as queue:
        for index in range(30):
            queue.add(
                Path(f"/jobs/{index}.yaml"), (f"train.name=고양이 {index}",), title=f"job {index}", priority=index % 3
            )
        for index in range(12):
            claim = queue.claim("cpu")
            assert claim is not None
            queue.finish(claim, "failed" if index % 2 else "done", "why\n" * 40)
        queue.drop("/in/cat", "first", "cat", Path("/out"), {"room": 1})
        queue.drop("/in/cat", "second", "cat", Path("/out"), {"room": 1})
        queue.retry(3)
        queue.move(10, 1)
        queue.pause()
        queue.clear()
        queue.add(Path("/jobs/last.yaml"))
    databases.settle(home / "queue.db")
    return home


@pytest.fixture
def home(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Lines) -> Path:
    shutil.copytree(full, tmp_path / "home")
    monkeypatch.setenv("LORAPIPE_HOME", str(tmp_path / "home"))
    caplog.set_level(logging.WARNING, "lorapipe")
    return tmp_path / "home"


def all_of(home: Path) -> tuple[list[object], bool]:
    with closing(Queue(home)) as queue:
        return list(queue.jobs()), queue.is_paused


TABLES = ["job", "dropped", "place", "setting", "progress"]
MORE = {
    **{f"without {table}": statement(f"DROP TABLE {table}") for table in TABLES},
    "without a column": statement("ALTER TABLE job DROP COLUMN reason"),
    "version 0": statement("PRAGMA user_version=0"),
    "a later version": statement("PRAGMA user_version=9; ALTER TABLE job ADD COLUMN colour TEXT"),
    "no more numbers": statement(f"UPDATE sqlite_sequence SET seq = {2**63 - 1}"),
    "a state of noise": statement("UPDATE job SET state = 'waitinc' WHERE number = 9"),
    "a job of noise": statement("UPDATE job SET sets = x'00ff', state = 'asleep' WHERE number = 4"),
}


@pytest.mark.parametrize("name", [*DAMAGES, *MORE])
def test_a_damaged_queue_loses_no_job(full: Path, home: Path, caplog: Lines, name: str) -> None:
    before = all_of(full)
    {**DAMAGES, **MORE}[name](home / "queue.db")
    assert main(["queue"]) == 0
    assert all_of(home) == before
    with closing(Queue(home)) as queue:
        assert queue.drop("/in/cat", "second", "cat", Path("/out"), {}) is None
        assert queue.add(Path("/jobs/new.yaml")).number == 34
        queue.resume()
        claim = queue.claim("cpu")
        assert claim is not None and claim.job.title == "job 9"
        queue.finish(claim, "done")
    assert len(told(caplog)) <= 1


@pytest.mark.parametrize("page", range(2, 8))
def test_without_a_journal_what_can_be_read_is_kept(full: Path, home: Path, page: int) -> None:
    before, _ = all_of(full)
    (home / "queue.jsonl").unlink()
    databases.zeroed(page)(home / "queue.db")
    assert all_of(home)[0] == before  # the pages of indexes and small tables


def test_rows_around_a_lost_page_are_read(tmp_path: Path) -> None:
    with closing(Queue(tmp_path)) as queue:
        for index in range(300):
            queue.add(Path(f"/jobs/{index}.yaml"), title=f"job {index}")
    databases.settle(tmp_path / "queue.db")
    (tmp_path / "queue.jsonl").unlink()
    databases.zeroed((tmp_path / "queue.db").read_bytes().index(b"job 150") // databases.PAGE)(tmp_path / "queue.db")
    found = {job.title for job in all_of(tmp_path)[0]}  # type: ignore[attr-defined]
    assert 240 < len(found) < 300 and {"job 0", "job 299"} <= found


def test_a_journal_that_was_cut_or_damaged_still_helps(full: Path, home: Path) -> None:
    before, _ = all_of(full)
    journal = home / "queue.jsonl"
    journal.write_bytes(
        b"[" * 100_000 + b"\n\xff\xfe{}\n[]\n3\n" + journal.read_bytes() + b'\n{"table": "job", "id": 4, "ro'
    )
    (home / "queue.db").write_bytes(b"")
    assert all_of(home)[0] == before


def test_the_journal_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorapipe.job_queue.journal.SPARE_BYTES", 10_000)
    with closing(Queue(tmp_path)) as queue:
        job = queue.add(Path("/jobs/a.yaml"))
        for number in range(300):
            queue.note_run(job.number, number)
    assert (tmp_path / "queue.jsonl").stat().st_size < 20_000
    (tmp_path / "queue.db").unlink()
    assert [each.run for each in all_of(tmp_path)[0]] == [299]  # type: ignore[attr-defined]


EARLIER = """
INSERT INTO job (title, pipeline, sets, device, priority, position, state, added)
    VALUES ('theirs', '/jobs/theirs.yaml', '[]', 'auto', 0, 99, 'waiting', 0.0);
UPDATE job SET state = 'done', finished = 5.0 WHERE number = 9;
DELETE FROM job WHERE number = 11;
DELETE FROM setting
"""
"""Changes of the queue by a version without a journal."""


@pytest.mark.parametrize("lost", ["deleted", "emptied", "noise"])
def test_what_an_earlier_version_has_changed_is_in_the_journal_too(home: Path, lost: str) -> None:
    all_of(home)
    with closing(sqlite3.connect(home / "queue.db")) as db:
        db.executescript(EARLIER)
    before, paused = all_of(home)
    assert not paused and {"theirs"} <= {job.title for job in before}  # type: ignore[attr-defined]
    databases.settle(home / "queue.db")
    if lost == "deleted":
        (home / "queue.db").unlink()
    else:
        (home / "queue.db").write_bytes(b"" if lost == "emptied" else b"noise" * 3000)
    assert all_of(home) == (before, paused)


def test_a_queue_that_an_earlier_version_has_begun_anew_is_not_mixed_with_an_older_journal(home: Path) -> None:
    (home / "queue.db").unlink()
    with closing(sqlite3.connect(home / "queue.db")) as db:
        db.executescript(f"{SCHEMA}; PRAGMA user_version=1; {EARLIER}")
    before = all_of(home)
    (home / "queue.db").unlink()
    assert all_of(home) == before and len(before[0]) == 1


def test_a_change_that_the_journal_could_not_take_is_told_by_the_next_process(home: Path) -> None:
    with closing(Queue(home)) as queue:
        journal = (home / "queue.jsonl").read_bytes()
        (home / "queue.jsonl").unlink()
        (home / "queue.jsonl.new").mkdir()
        (home / "queue.jsonl").mkdir()
        queue.add(Path("/jobs/untold.yaml"), title="untold")
    (home / "queue.jsonl").rmdir()
    (home / "queue.jsonl.new").rmdir()
    (home / "queue.jsonl").write_bytes(journal)
    before = all_of(home)
    (home / "queue.db").unlink()
    assert all_of(home) == before and any(job.title == "untold" for job in before[0])  # type: ignore[attr-defined]


def test_a_later_version_that_has_only_added_columns_is_worked_beside(home: Path) -> None:
    more = "; ".join(f"ALTER TABLE {table} ADD COLUMN colour TEXT DEFAULT 'red'" for table in TABLES)
    statement(f"PRAGMA user_version=9; {more}")(home / "queue.db")
    with closing(Queue(home)) as queue:
        job = queue.drop("/in/dog", "first", "dog", Path("/out"), {})
        queue.resume()
        queue.pause()
        assert job is not None
        queue.record_progress(job.number, {"step": 1})
    assert job.title in {each.title for each in all_of(home)[0]}  # type: ignore[attr-defined]


def test_a_later_versions_job_that_is_not_understood_is_left_to_it(home: Path) -> None:
    with closing(Queue(home)) as queue:
        job = queue.add(Path("/jobs/theirs.yaml"))
    statement(f"PRAGMA user_version=9; UPDATE job SET state = 'dreaming' WHERE number = {job.number}")(
        home / "queue.db"
    )
    assert job.number not in {each.number for each in all_of(home)[0]}  # type: ignore[attr-defined]
    with closing(sqlite3.connect(home / "queue.db")) as db:
        assert db.execute("SELECT state FROM job WHERE number = ?", (job.number,)).fetchone() == ("dreaming",)


def test_of_a_journal_that_is_not_understood_nothing_is_lost(home: Path) -> None:
    line = '{"table": "job", "id": 40, "row": {"number": 40, "state": "dreaming", "colour": "red"}}\n'
    (home / "queue.jsonl").open("a", encoding="utf-8").write(line)
    (home / "queue.db").unlink()
    all_of(home)
    assert line in (home / "queue.old.jsonl").read_text(encoding="utf-8")


def test_a_queue_that_a_later_version_has_changed_is_left_alone_with_a_cure(home: Path, capsys) -> None:
    statement("PRAGMA user_version=9; ALTER TABLE job DROP COLUMN reason")(home / "queue.db")
    before = (home / "queue.db").read_bytes()
    assert main(["queue"]) == 1 and "LORAPIPE_HOME" in capsys.readouterr().err
    assert (home / "queue.db").read_bytes() == before


@pytest.mark.parametrize("look", [Queue.jobs, Queue.counts, lambda queue: queue.window(5)])
def test_whatever_looks_at_a_queue_that_is_damaged_meanwhile_mends_it(home: Path, caplog: Lines, look) -> None:
    with closing(Queue(home)) as queue:
        before = look(queue)
        queue.database.connection.execute("PRAGMA cache_size=0")
        for page in range(1, 12):
            databases.noisy(page, page)(home / "queue.db")
        queue.database.connection.execute("PRAGMA shrink_memory")
        assert look(queue) == before
        (home / "queue.db").unlink()
        assert look(queue) == before
    assert told(caplog)


def test_a_queue_in_use_is_mended_in_the_middle_and_by_another(home: Path) -> None:
    with closing(Queue(home)) as one, closing(Queue(home)) as other:
        one.resume()
        claim = one.claim("cpu")
        assert claim is not None
        (home / "queue.db").unlink()
        other.add(Path("/jobs/after.yaml"))
        assert one.finish(claim, "done").state == "done"
        assert {job.state for job in other.jobs() if job.number == claim.job.number} == {"done"}
        assert other.recover() == []


def test_what_stands_in_the_home_folder_is_its_users_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.name != "posix":
        pytest.skip("rights are not so here")
    for name in ("queue.db", "queue.jsonl"):
        (home / name).chmod(0o644)
    (home / "page.key").write_text("x" * 22)
    (home / "page.key").chmod(0o644)
    before = os.umask(0)
    try:
        assert main(["queue", "pause"]) == 0
        with closing(Queue()) as queue, closing(LedgerDatabase(home / "digests.db", private=True)) as records:
            queue.pause()
            records.remember([("/a", (1, 1, 1, 1), "sha256:a")])
            modes = {file.name: file.stat().st_mode & 0o077 for file in home.rglob("*")}
    finally:
        os.umask(before)
    assert {"queue.db", "queue.db-wal", "queue.jsonl", "page.key", "digests.db"} <= modes.keys()
    assert set(modes.values()) == {0}, modes


def test_thousands_that_wait_for_room_cost_an_idle_queue_little(tmp_path: Path) -> None:
    with closing(Queue(tmp_path)) as queue:
        with queue._writing() as db:
            for index in range(4000):
                queue._insert(db, f"{index}", Path(f"/jobs/{index}/pipeline.yaml"), (), "auto", 0)
        asked = 0

        def objection(job: object) -> str:
            nonlocal asked
            asked += 1
            return "waits for room"

        start = time.process_time()
        for _ in range(10):
            assert queue.claim("cpu", objection) is None
        assert asked == 4000 and time.process_time() - start < 5
        late = queue.add(Path("/jobs/late.yaml"), priority=1)  # is noticed at once
        claim = queue.claim("cpu", lambda job: "")
        assert claim is not None and claim.job.number == late.number


def test_asking_what_a_job_waits_for_keeps_nobody_from_writing(queue: Queue) -> None:
    queue.add(Path("/jobs/a.yaml"))

    def objection(job: object) -> str:
        with closing(sqlite3.connect(queue.root / "queue.db", timeout=0.1)) as other:
            other.execute("BEGIN IMMEDIATE")
        return "waits"

    assert queue.claim("cpu", objection) is None
