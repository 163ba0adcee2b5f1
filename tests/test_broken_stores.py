"""Damage by hand in a store is reported or ignored: commands succeed, and results are right."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lorapipe.cli import main
from lorapipe.pipeline.artifact_json import encode
from lorapipe.pipeline.garbage_collection import clean, waste
from lorapipe.pipeline.history import runs
from lorapipe.pipeline.ledger import Damage, Ledger, Result
from lorapipe.pipeline.ledger_database import LedgerDatabase

COMMANDS = (
    ["plan", "cat.yaml"],
    ["runs"],
    ["runs", "1"],
    ["why", "tally"],
    ["log", "tally"],
    ["gc", "0"],
    ["lock", "cat.yaml"],
)


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    assert main(["run", "cat.yaml", "--quiet"]) == 0
    return project


def manifests(here: Path) -> list[Path]:
    files = sorted((here / ".lorapipe" / "store").glob("*/manifest.json"))
    for file in files:
        file.chmod(0o600)
    return files


def all_end_well(here: Path, *, same: bool = False) -> None:
    """Check that every command ends without a traceback, and that a run repairs the store; `same`: without any stage."""
    for words in COMMANDS:
        assert main(list(words)) in (0, 2), words
    assert main(["run", "cat.yaml", "--quiet"]) == 0 and (here / "result.html").read_text() == "<p>3</p>"
    for words in COMMANDS:
        assert main(list(words)) == 0, words


Change = Callable[[dict[str, Any]], object]
CHANGES: dict[str, Change] = {
    **{
        f"no {name}": lambda each, name=name: each.pop(name)
        for name in ("key", "files", "artifact", "settings", "sources")
    },
    **{
        f"no {name}": lambda each, name=name: each.pop(name)
        for name in ("pipeline", "stage", "type", "started", "finished")
    },
    "key is a number": lambda each: each.update(key=3),
    "files is a list": lambda each: each.update(files=["out/text.txt"]),
    "a file is a text": lambda each: each["files"].update(dict.fromkeys(each["files"], "sha256:x")),
    "a file without a digest": lambda each: each["files"].update({file: {"size": 1} for file in each["files"]}),
    "a file with NUL in its name": lambda each: each["files"].update({"out/\0": {"digest": "sha256:x"}}),
    "artifact of no kind": lambda each: each.update(artifact={}),
    "artifact of a strange kind": lambda each: each.update(artifact={"kind": "Spaceship"}),
    "artifact with a list for a path": lambda each: each["artifact"].update(path=["x"], page={"x": 1}, text=7),
    "artifact that lacks a field": lambda each: [each["artifact"].pop(name) for name in list(each["artifact"])[1:]],
    "a path with NUL": lambda each: each["artifact"].update(path="store:\0", page="store:\0"),
    "settings of a text": lambda each: each.update(settings="none"),
    "made by a number": lambda each: each["settings"].update({"(made by)": 5, "folder": "sha256:zzz"}),
    "sources of texts": lambda each: each.update(sources={"sha256:zzz": "text"}),
    "finished never": lambda each: each.update(finished=float("nan")),
    "finished at the end of time": lambda each: each.update(finished=1e300, started=-1e300),
    "nested deeply": lambda each: each.update(settings=json.loads("[" * 400 + "]" * 400)),
    "nested in the artifact": lambda each: each["artifact"].update(path=json.loads("[" * 400 + "]" * 400)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_manifest_with_something_else_in_it_is_damage(here: Path, name: str) -> None:
    for file in manifests(here):
        manifest = json.loads(file.read_text("utf-8"))
        del manifest["crc32"]  # as an earlier version wrote it
        CHANGES[name](manifest)
        file.write_text(json.dumps(manifest), encoding="utf-8")
    all_end_well(here)


def test_a_flipped_bit_in_a_manifest_is_damage(here: Path) -> None:
    """It may be in a strength, a step or a path, where any value looks valid."""
    chance = random.Random(3)
    for file in manifests(here):
        text = file.read_bytes()
        key = json.loads(text)["key"]
        with closing(Ledger(here)) as ledger:
            assert isinstance(ledger.result(key), Result)
            for place in chance.sample(range(len(text)), 60):
                file.write_bytes(text[:place] + bytes([text[place] ^ 1 << chance.randrange(8)]) + text[place + 1 :])
                found = ledger.result(key)
                assert found == Damage("manifest.json") or (
                    place < 21 and isinstance(found, Result)
                )  # no message there
        file.write_bytes(text[:-40] + text[-40:].replace(b"1", b"2").replace(b"0", b"1"))
    all_end_well(here)


TEXTS = {
    "empty": b"",
    "a list": b"[]",
    "a number": b"3",
    "50 MB of brackets": b"[" * 50_000_000,
    "deep objects": b'{"a":' * 20_000,
    "no UTF-8": b"\xff\xfe" * 99,
    "another version": b'{"version": 99, "key": "x"}',
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_manifest_that_is_none_is_damage(here: Path, name: str) -> None:
    for file in manifests(here)[: 1 if "50 MB" in name else None]:
        file.write_bytes(TEXTS[name])
        with closing(Ledger(here)) as ledger:
            assert ledger.manifest(file.parent.name) is None
    all_end_well(here)


@pytest.mark.parametrize(
    "what", ["a folder", "a pipe", "an endless device", "a link that leads nowhere", "a link to itself"]
)
@pytest.mark.parametrize("where", ["manifest.json", "out/*"])
def test_what_is_no_file_is_not_read(here: Path, what: str, where: str) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    for file in [each for folder in (here / ".lorapipe" / "store").iterdir() for each in folder.glob(where)]:
        file.unlink()
        match what:
            case "a folder":
                file.mkdir()
            case "a pipe":
                os.mkfifo(file)
            case "an endless device":
                file.symlink_to("/dev/zero")
            case "a link that leads nowhere":
                file.symlink_to("nowhere")
            case _:
                file.symlink_to(file.name)
    all_end_well(here)


def test_a_wrong_manifest_of_a_right_key_is_damage(toys: None, tmp_path: Path) -> None:
    from toys import Text

    from lorapipe.pipeline.keys import Identity
    from lorapipe.pipeline.ledger import begin

    key = "ab" * 32
    with closing(Ledger(tmp_path)) as ledger:
        ledger.open()
        attempt = ledger.attempt(key)
        begin(attempt)
        (attempt / "out" / "text.txt").write_text("hello")
        artifact = encode(Text(attempt / "out" / "text.txt", tmp_path), ledger.store, attempt)
        about = {"pipeline": "cat.yaml", "stage": "text", "type": "words", "started": 0.0}
        file = ledger.publish(Identity(key, {}, dict), artifact, about).folder / "manifest.json"
        file.chmod(0o600)
        manifest = json.loads(file.read_text("utf-8"))
        manifest.pop("crc32")
        file.write_text(json.dumps(manifest | {"artifact": {"kind": "Text", "path": 3}}))
        assert ledger.result(key) == Damage("manifest.json")


# ------------------------------------------------------------------------------------------------- runs, times, cleaning


@pytest.mark.parametrize(
    "name", ["²", "٣", "-1", "0", "007", "1e5", str(2**63 - 1), str(2**63), "9" * 300, "notes.txt", "5"]
)
@pytest.mark.parametrize("make", [Path.mkdir, Path.touch], ids=["folder", "file"])
def test_whatever_lies_among_the_runs_the_next_one_runs(here: Path, name: str, make: Callable[[Path], None]) -> None:
    if len(name) > 255:
        name = name[:250]
    make(here / ".lorapipe" / "runs" / name)
    assert main(["run", "cat.yaml", "--quiet"]) == 0
    with closing(Ledger(here)) as ledger:
        assert [run.number for run in runs(ledger)] == ([6, 1] if name == "5" else [2, 1])
    assert main(["why", "text"]) == 0


@pytest.mark.parametrize("number", [2**63 - 1, 10**9 - 1, 10**9, 10**18])
def test_a_run_of_any_number_is_no_end_of_counting(tmp_path: Path, number: int) -> None:
    with closing(LedgerDatabase(tmp_path / "ledger.db")) as records:
        records.database.connection.execute("INSERT INTO run (id, pipeline) VALUES (?, 'far.yaml')", (number,))
        begun = [records.begin("cat.yaml") for _ in range(3)]
        assert len(set(begun)) == 3 and number not in begun


@pytest.mark.parametrize("at", [0, -1e12, 3e6 * 86400 + 1.8e9, 1e18, -1e18, 1e300])
def test_a_clock_that_was_set_anywhere_ends_no_command(here: Path, at: float, capsys) -> None:
    with closing(Ledger(here)) as ledger, ledger.records.database.writing() as db:
        db.execute("UPDATE run SET started = ?, finished = ?", (at, at + 5))
        db.execute("UPDATE used SET at = ?", (at,))
    for words in COMMANDS:
        assert main(words) == 0
    with closing(Ledger(here)) as ledger:
        for now in (at, 0.0, 3e11):
            assert (
                len({each.path.name for each in waste(ledger, 30, now=now)} & {f.parent.name for f in manifests(here)})
                == 0
            )


def test_damaged_events_are_passed_over(here: Path) -> None:
    file = here / ".lorapipe" / "runs" / "1" / "events.jsonl"
    odd = [
        "[" * 100_000,
        "{}",
        "3",
        '{"event": ["x"]}',
        '{"event": "metric", "values": 5}',
        '{"event": "finished", "files": 7}',
        '{"event": "finished", "stage": [], "seconds": "long"}',
        "\0\0\0",
        '{"event": "started", "stage": "tally", "key": 5}',
    ]
    file.write_bytes("\n".join([*odd, file.read_text("utf-8"), *odd]).encode() + b"\xff\xfe")
    (here / ".lorapipe" / "ledger.db").unlink()
    all_end_well(here)
    with closing(Ledger(here)) as ledger:
        assert {run.status for run in runs(ledger)} == {"done"}


def test_gc_costs_no_more_than_it_must(tmp_path: Path) -> None:
    manifest = {
        "version": 1, "stage": "s", "type": "t", "started": 1.0, "finished": 2.0, "settings": {"word": "a"}, "sources": {},
        "artifact": {"kind": "Text", "path": "store:x/out/t.txt"}, "files": {"out/t.txt": {"size": 1, "digest": "sha256:0"}},
    }  # fmt: skip
    with closing(Ledger(tmp_path)) as ledger:
        ledger.open()
        for index in range(2000):
            key = f"{index:064x}"[::-1]
            folder = ledger.store / key[:20]
            folder.mkdir()
            (folder / "manifest.json").write_text(json.dumps(manifest | {"key": key, "pipeline": f"{index % 7}.yaml"}))
            ledger.records.use(1 + index // 100, f"{index % 7}.yaml", f"s{index}", "t", key, 2.0)
        start = time.process_time()
        found = waste(ledger, 30)
        took = time.process_time() - start
        assert 1800 < len(found) < 2000 and took < 1.0  # a tenth of that, and twice that for twice as many


def test_several_clean_up_beside_runs(here: Path) -> None:
    errors: list[BaseException] = []
    over = threading.Event()

    def cleaning() -> None:
        try:
            while not over.is_set():
                with closing(Ledger(here)) as ledger:
                    clean(ledger, waste(ledger, 0))
        except BaseException as error:
            errors.append(error)

    cleaners = [threading.Thread(target=cleaning) for _ in range(3)]
    for each in cleaners:
        each.start()
    for index in range(6):
        assert main(["run", "cat.yaml", "--quiet", "--set", f"tally.steps={index + 1}"]) == 0
    over.set()
    for each in cleaners:
        each.join(20)
    assert not errors and (here / "result.html").read_text() == "<p>3</p>"
