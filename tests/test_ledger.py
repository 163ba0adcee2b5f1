"""Results are published completely or not at all, never change, and can be found again from the files alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lorapipe.pipeline.ledger as ledger_module
from lorapipe.errors import InputError, LorapipeError
from lorapipe.pipeline.artifact_json import content, decode, encode
from lorapipe.pipeline.artifacts import paths, to_open
from lorapipe.pipeline.digests import Digests
from lorapipe.pipeline.keys import Identity, identify, short
from lorapipe.pipeline.ledger import Damage, Ledger, Result, begin
from lorapipe.pipeline.ledger_database import LedgerDatabase, stat_of
from lorapipe.pipeline.locks import Busy, holding, take
from lorapipe.spec import Source


@pytest.fixture
def ledger(tmp_path: Path):
    ledger = Ledger(tmp_path)
    ledger.open()
    yield ledger
    ledger.close()


ABOUT = {"pipeline": "cat.yaml", "stage": "text", "type": "words", "started": 0.0}


def attempted(ledger: Ledger, key: str) -> Path:
    attempt = ledger.attempt(key)
    begin(attempt)
    return attempt


def publish(ledger: Ledger, key: str, text: str = "hello") -> Result:
    """Publish a result with one file, as the runner does."""
    from toys import Text

    attempt = attempted(ledger, key)
    (attempt / "out" / "text.txt").write_text(text)
    artifact = encode(Text(attempt / "out" / "text.txt", ledger.folder), ledger.store, attempt)
    return ledger.publish(Identity(key, {}, dict), artifact, ABOUT)


KEY = "ab" * 32


def test_a_published_result_is_found_again(toys: None, ledger: Ledger) -> None:
    assert ledger.result(KEY) is None
    publish(ledger, KEY)
    found = Ledger(ledger.folder).result(KEY)
    assert isinstance(found, Result) and found.artifact.path.read_text() == "hello"
    assert found.artifact.path.is_relative_to(ledger.store)
    assert not list(ledger.work.iterdir())


def test_a_published_result_is_read_only(toys: None, ledger: Ledger) -> None:
    path = publish(ledger, KEY).artifact.path
    assert not path.stat().st_mode & 0o222


def test_an_attempt_starts_empty_but_keeps_its_checkpoints(ledger: Ledger) -> None:
    attempt = attempted(ledger, KEY)
    (attempt / "out" / "half.txt").write_text("half")
    (attempt / "resume" / "step.txt").write_text("7")
    assert ledger.has_checkpoint(KEY)
    again = attempted(ledger, KEY)
    assert not list((again / "out").iterdir()) and (again / "resume" / "step.txt").read_text() == "7"
    assert ledger.result(KEY) is None


@pytest.mark.parametrize("place", ["", "out", "resume", "manifest.json"])
@pytest.mark.parametrize("how", ["file", "link", "lost link", "folder"])
def test_what_lies_in_the_place_of_an_attempt_makes_way(toys: None, ledger: Ledger, place: str, how: str) -> None:
    """A file for a folder, a folder for a file, a link to another place: the stage runs, nothing elsewhere is harmed."""
    attempt, mine = ledger.work / short(KEY), ledger.folder / "mine"
    mine.mkdir()
    (mine / "precious.txt").write_text("precious")
    path = attempt / place
    path.parent.mkdir(exist_ok=True)
    if how == "file":
        path.write_text("in the way")
    elif how == "folder":
        (path / "deep").mkdir(parents=True)
    else:
        try:
            path.symlink_to(mine if how == "link" else mine / "nothing")
        except OSError:
            pytest.skip("this system refuses links")
    publish(ledger, KEY)
    assert isinstance(ledger.result(KEY), Result)
    assert [each.name for each in mine.iterdir()] == ["precious.txt"]


def test_a_file_or_a_folder_in_the_place_of_a_result_makes_way(toys: None, ledger: Ledger) -> None:
    target = ledger.store / short(KEY)
    target.write_text("in the way")
    publish(ledger, KEY)
    path = ledger.folder / ".lorapipe" / "store" / short("cd" * 32)
    (path / "deep").mkdir(parents=True)
    publish(ledger, "cd" * 32)
    assert all(isinstance(ledger.result(key), Result) for key in (KEY, "cd" * 32))


def test_a_finished_attempt_is_published_and_no_other(
    toys: None, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run was killed after the manifest was written and before the attempt was in the store."""
    monkeypatch.setattr(ledger_module, "move", ended)
    with pytest.raises(KeyboardInterrupt):
        publish(ledger, KEY)
    monkeypatch.undo()
    attempt = ledger.work / short(KEY)
    whole = {path: path.read_bytes() for path in attempt.rglob("*") if path.is_file()}
    assert ledger.adopt("cd" * 32) is None
    for change in (b"HELLO", b"", None):
        file = attempt / "out" / "text.txt"
        file.unlink() if change is None else file.write_bytes(change)
        assert ledger.adopt(KEY) is None and attempt.is_dir()
    for path, data in whole.items():
        path.write_bytes(data)
    (attempt / "out" / "more.txt").write_text("more")
    assert ledger.adopt(KEY) is None
    (attempt / "out" / "more.txt").unlink()
    found = ledger.adopt(KEY)
    assert isinstance(found, Result) and found.artifact.path.read_text() == "hello" and not attempt.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_makes_way_for_what_an_attempt_goes_on_from(ledger: Ledger, tmp_path: Path) -> None:
    resume = ledger.attempt(KEY) / "resume"
    (resume / "checkpoints").mkdir(parents=True)
    os.mkfifo(resume / "pipe")
    os.mkfifo(resume / "checkpoints" / "pipe")
    (resume / "checkpoints" / "link").symlink_to(tmp_path)
    (resume / "checkpoints" / "kept").write_text("kept")
    begin(ledger.attempt(KEY))
    assert [path.name for path in resume.rglob("*")] == ["checkpoints", "kept"] and tmp_path.is_dir()


def ended(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", ["removed", "emptied", "shortened", "changed", "same size and time", "manifest"])
@pytest.mark.parametrize("fresh", [True, False], ids=["next run", "this run"])
def test_damage_is_noticed_and_mended_by_publishing_again(toys: None, ledger: Ledger, how: str, fresh: bool) -> None:
    path = publish(ledger, KEY).artifact.path
    path.chmod(0o600)
    if how == "removed":
        path.unlink()
    elif how == "shortened":
        path.write_text("hell")
    elif how == "changed":
        path.write_text("HELLO")
    elif how == "emptied":
        path.write_text("")
    elif how == "same size and time":
        before = path.stat()
        path.write_text("HELLO")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        (path.parents[1] / "manifest.json").chmod(0o600)
        (path.parents[1] / "manifest.json").write_text("{")
    damage = (Ledger(ledger.folder) if fresh else ledger).result(KEY)
    assert damage == Damage("manifest.json" if how == "manifest" else "out/text.txt")
    publish(ledger, KEY)
    assert isinstance(ledger.result(KEY), Result)


def test_a_result_that_was_only_copied_is_whole(toys: None, ledger: Ledger, tmp_path: Path) -> None:
    publish(ledger, KEY)
    ledger.close()
    copy = tmp_path / "copy"
    shutil.copytree(ledger.root, copy / ".lorapipe", copy_function=shutil.copyfile)  # new times, same bytes
    found = Ledger(copy).result(KEY)
    assert isinstance(found, Result) and found.artifact.path.is_relative_to(copy)


def test_a_result_whose_source_has_moved_away_is_no_result(toys: None, ledger: Ledger) -> None:
    from toys import Text

    origin = ledger.folder / "origin"
    origin.mkdir()
    attempt = attempted(ledger, KEY)
    (attempt / "out" / "text.txt").write_text("x")
    artifact = encode(Text(attempt / "out" / "text.txt", origin), ledger.store, attempt)
    ledger.publish(Identity(KEY, {}, dict), artifact, ABOUT)
    origin.rename(ledger.folder / "moved")
    assert ledger.result(KEY) == Damage(str(origin), moved=True)


def test_a_stage_must_have_made_what_it_says(toys: None, ledger: Ledger) -> None:
    from toys import Text

    attempt = attempted(ledger, KEY)
    artifact = encode(Text(attempt / "out" / "text.txt", ledger.folder), ledger.store, attempt)
    with pytest.raises(LorapipeError, match=r"returned out/text\.txt"):
        ledger.publish(Identity(KEY, {}, dict), artifact, ABOUT)
    assert ledger.result(KEY) is None


def test_the_database_can_be_lost_or_broken(toys: None, ledger: Ledger) -> None:
    publish(ledger, KEY)
    ledger.close()
    file = ledger.root / "ledger.db"
    for data in (None, b"this is no database" * 1000):
        file.unlink()
        for extra in ledger.root.glob("ledger.db-*"):
            extra.unlink()
        if data is not None:
            file.write_bytes(data)
        fresh = Ledger(ledger.folder)
        assert fresh.records.last_key("cat.yaml", "text", "words") == KEY
        fresh.close()


def test_reading_a_folder_without_a_ledger_writes_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.result(KEY) is None and ledger.records.last_key("a", "b", "c") is None
    ledger.close()
    assert not list(tmp_path.iterdir())


def test_outputs_points_to_the_last_result_and_leaves_the_users_files_alone(toys: None, ledger: Ledger) -> None:
    first = ledger.link_output("text", publish(ledger, KEY))
    assert (Path(first) / "text.txt").read_text() == "hello"
    second = ledger.link_output("text", publish(ledger, "cd" * 32, "again"))
    assert (Path(second) / "text.txt").read_text() == "again"
    mine = ledger.folder / "outputs" / "mine"
    mine.mkdir()
    ledger.link_output("mine", publish(ledger, KEY[::-1]))
    assert not list(mine.iterdir())


# ---------------------------------------------------------------------------------------------------------- digests


@pytest.fixture
def digests() -> Digests:
    return Digests(LedgerDatabase(None))


def test_a_folder_is_its_names_and_bytes(digests: Digests, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    (folder / "deep").mkdir(parents=True)
    (folder / "one.txt").write_text("1")
    (folder / "deep" / "two.txt").write_text("2")
    first = digests.path(folder)
    assert sorted(digests.listings[first]) == ["deep/two.txt", "one.txt"]
    (folder / ".DS_Store").write_text("noise")
    (folder / "Thumbs.db").write_text("noise")
    assert digests.path(folder) == first
    assert digests.path(folder.rename(tmp_path / "b")) == first
    (tmp_path / "b" / "one.txt").rename(tmp_path / "b" / "uno.txt")
    assert digests.path(tmp_path / "b") != first


def test_a_link_that_leads_back_is_walked_once(digests: Digests, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.txt").write_text("1")
    try:
        (tmp_path / "a" / "back").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("this system refuses links")
    assert digests.path(tmp_path / "a").startswith("sha256:")


def test_files_are_read_again_only_when_their_stat_changes(tmp_path: Path) -> None:
    records, file = LedgerDatabase(None), tmp_path / "a.txt"
    file.write_text("1")
    past = time.time() - 100
    os.utime(file, (past, past))
    records.remember([(str(file), stat_of(file), "sha256:remembered")])
    assert Digests(records).file(str(file)) == "sha256:remembered"
    file.write_text("2")
    assert Digests(records).file(str(file)) != "sha256:remembered"


def test_a_file_that_was_written_just_now_is_not_trusted_to_its_stat(tmp_path: Path) -> None:
    records, file = LedgerDatabase(None), tmp_path / "a.txt"
    file.write_text("1")
    digests = Digests(records)
    digests.file(str(file))
    digests.save()
    assert records.digests(str(tmp_path)) == {}


def test_a_source_that_cannot_be_read_is_the_users_to_mend(digests: Digests, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        digests.path(tmp_path / "gone")


def test_keys_hold_content_and_nothing_else(toys: None, digests: Digests, tmp_path: Path) -> None:
    from toys import Words

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text("x")
    key = identify(Words(folder=Source(tmp_path / "a")), digests).key
    assert identify(Words(folder=Source(tmp_path / "b"), note="another folder"), digests).key == key
    assert identify(Words(folder=Source(tmp_path / "a"), upper=True), digests).key != key
    (tmp_path / "a" / "x.txt").write_text("y")
    assert identify(Words(folder=Source(tmp_path / "a")), digests).key != key


def test_a_stage_that_now_does_otherwise_has_another_key(toys: None, digests: Digests, tmp_path: Path, monkeypatch):
    from toys import Words

    stage = Words(folder=Source(tmp_path))
    keys = {identify(stage, digests).key}
    monkeypatch.setattr(Words, "libraries", ("pytest",))
    keys.add(identify(stage, digests).key)
    monkeypatch.setattr(Words, "version", 2)
    keys.add(identify(stage, digests).key)
    assert len(keys) == 3


# ------------------------------------------------------------------------------------------------- artifacts, locks


def test_artifacts_survive_a_move_of_the_store(toys: None, tmp_path: Path) -> None:
    from toys import Tally, Text

    (tmp_path / "work" / "k").mkdir(parents=True)
    text = Text(tmp_path / "store" / "t" / "out" / "t.txt", tmp_path / "elsewhere")
    tally = Tally(text, tmp_path / "work" / "k" / "out" / "page.html", 3)
    plain = encode(tally, tmp_path / "store", tmp_path / "work" / "k")
    assert plain["page"] == "store:k/out/page.html" and plain["text"]["path"] == "store:t/out/t.txt"
    moved = decode(plain, Path("/new"))
    assert moved.page == Path("/new/k/out/page.html") and moved.text.origin == tmp_path / "elsewhere"
    assert len(paths(moved)) == 3 and to_open(moved) == [moved.page]
    digest = content(moved, lambda path: path.name)
    assert digest == {"kind": "Tally", "text": {"path": "t.txt"}, "page": "page.html", "times": 3}


HOLD = """
import sys, time, pathlib
from lorapipe.pipeline.locks import take
file = take(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_lock_is_held_by_one_and_freed_by_the_end_of_its_process(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "a.lock"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline().strip() == b"held"
    with pytest.raises(Busy) as busy:
        take(lock)
    assert busy.value.holder == other.pid
    other.kill()
    other.wait()
    with holding(lock, lambda busy: time.sleep(0.01)), pytest.raises(Busy):
        take(lock)
