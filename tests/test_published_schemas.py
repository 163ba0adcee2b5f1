"""Files that other programs read have schemas in `schemas/`, which describe both written and accepted files."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lorapipe.cli import main
from lorapipe.commands.schema import NAMES, file_of, schemas
from lorapipe.errors import InputError
from lorapipe.evaluation import report_data
from lorapipe.pipeline import events, loader, lockfile, manifest, run_files
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.lockfile import differing
from lorapipe.spec import JsonDocument
from lorapipe.training.data import captions_document, generated_pictures
from lorapipe.training.data import manifest as dataset

ROOT = Path(__file__).parents[1]
MODULES = (captions_document, dataset, events, generated_pictures, lockfile, manifest, report_data, run_files)
DOCUMENTS = {module.DOCUMENT.name: module.DOCUMENT for module in MODULES}
TRIALS: list[Any] = [None, True, 0, 1, 2, -0.5, 10**18, "", "x", [], ["x"], [1], {}, {"x": 1}, {"x": "y"}]


@pytest.fixture(scope="module")
def published() -> dict[str, jsonschema.Draft202012Validator]:
    """Return the committed schemas of files."""
    texts = {name: (ROOT / file_of(name)).read_text("utf-8") for name in DOCUMENTS}
    return {name: jsonschema.Draft202012Validator(json.loads(text)) for name, text in texts.items()}


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that has been run and locked."""
    monkeypatch.chdir(project)
    assert main(["run", "cat.yaml", "--quiet"]) == 0 and main(["lock", "cat.yaml"]) == 0
    return project


def written(here: Path) -> Iterator[tuple[str, Any]]:
    """Yield every document that a run and a lock have written, with its schema's name."""
    store = here / ".lorapipe"
    for name, pattern in (("manifest", "store/*/manifest.json"), ("run", "runs/*/run.json")):
        yield from ((name, json.loads(file.read_bytes())) for file in store.glob(pattern))
    for file in store.glob("runs/*/events.jsonl"):
        yield from (("event", json.loads(line)) for line in file.read_text("utf-8").splitlines())
    yield "lorapipe.lock", json.loads((here / "lorapipe.lock").read_bytes())


def changed(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield copies of a document in which one part is left out, or has another value."""
    for trial in TRIALS:
        yield at, trial
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        for place, other in changed(value, (*at, key)):
            new = copy.copy(document)
            new[key] = other
            yield place, new
        if isinstance(document, dict):
            yield (*at, key), {name: kept for name, kept in document.items() if name != key}


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_schemas_are_current_and_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = file_of(name).read_text("utf-8")
    assert text == schemas()[name], "run `lorapipe schema --write`"
    schema = json.loads(text)
    jsonschema.validators.validator_for(schema).check_schema(schema)
    jsonschema.Draft202012Validator.check_schema(schema)


def test_no_schema_is_of_nothing() -> None:
    assert {file.name for file in (ROOT / "schemas").iterdir()} == {file_of(name).name for name in NAMES}
    assert {"pipeline", *DOCUMENTS} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_can_be_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", name]) == 0
    assert json.loads(capsys.readouterr().out)["title"].startswith("lorapipe")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_field_of_a_file_is_explained(name: str) -> None:
    schema = DOCUMENTS[name].schema()
    assert schema["description"]
    for part in (schema, *schema.get("$defs", {}).values()):
        assert part["description"] and not part["description"].startswith("dict(")


def test_what_is_written_fits_its_schema(here: Path, published: dict[str, jsonschema.Draft202012Validator]) -> None:
    found = list(written(here))
    assert {"manifest", "run", "event", "lorapipe.lock"} == {name for name, _ in found}
    for name, document in found:
        published[name].validate(document)
        assert DOCUMENTS[name].fits(document)


def test_the_quick_check_and_the_schema_agree(
    here: Path, published: dict[str, jsonschema.Draft202012Validator]
) -> None:
    seen: dict[str, set[bool]] = {}
    each = {(name, document.get("event"), document.get("type")): document for name, document in written(here)}
    for (name, *_), document in each.items():
        for place, other in changed(document):
            fits = DOCUMENTS[name].fits(other)
            assert fits == published[name].is_valid(other), (name, place)
            seen.setdefault(name, set()).add(fits)
            if not fits:
                assert DOCUMENTS[name].problems(other, "file"), (name, place)
    assert all(each == {True, False} for each in seen.values())


def test_every_kind_of_event_fits_its_schema(published: dict[str, jsonschema.Draft202012Validator]) -> None:
    for kind in events.KINDS.values():
        document = json.loads(events.to_json(kind("a stage")))
        published["event"].validate(document)
        for _, other in changed(document):
            assert DOCUMENTS["event"].fits(other) == published["event"].is_valid(other)


# ------------------------------------------------------------------------------------------------- what is edited


def test_what_the_schema_of_a_manifest_refuses_is_no_result(here: Path) -> None:
    with_one = next((here / ".lorapipe" / "store").glob("*/manifest.json"))
    document = json.loads(with_one.read_bytes())
    del document["crc32"]
    with_one.chmod(0o600)
    with_one.write_text(json.dumps(document), "utf-8")
    assert manifest.read_manifest(str(with_one)) == document and not manifest.manifest_damage(str(with_one))
    for place, other in changed(document):
        if not DOCUMENTS["manifest"].fits(other):
            with_one.write_text(json.dumps(other), "utf-8")
            assert manifest.read_manifest(str(with_one)) is None
            said = manifest.manifest_damage(str(with_one))
            assert said and all(part in said for part in map(str, place[:-1]))


def test_a_plan_names_the_field_that_a_manifest_lacks(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in (here / ".lorapipe" / "store").glob("*/manifest.json"):
        document = json.loads(file.read_bytes())
        if document["stage"] == "tally":
            document["files"] = {name: {"size": 1} for name in document["files"]}
            del document["crc32"]
            file.chmod(0o600)
            file.write_text(json.dumps(document), "utf-8")
    assert main(["plan", "cat.yaml"]) == 0
    said = capsys.readouterr().out
    assert "manifest.json (files.out/tally.html: digest is missing)" in " ".join(said.split())
    assert main(["run", "cat.yaml", "--quiet"]) == 0 and (here / "result.html").read_text() == "<p>3</p>"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda lock: lock["pipelines"]["cat.yaml"]["stages"]["tally"].pop("key"),
            "cat.yaml.stages.tally: key is miss",
        ),
        (
            lambda lock: lock["pipelines"]["cat.yaml"].update(versions=["1"]),
            'versions: ["1"] is not a mapping. Of lorap',
        ),
        (lambda lock: lock["pipelines"]["cat.yaml"]["stages"]["text"]["made"].update(a=7), "made.a: 7 is not text."),
        (lambda lock: lock.update(version=2), "is not a lock file of this version"),
        (lambda lock: lock.update(pipelines=[]), "pipelines: [] is not a mapping"),
    ],
)
def test_an_edited_lock_file_is_refused_with_the_field(
    here: Path, change: Any, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = here / "lorapipe.lock"
    document = json.loads(file.read_bytes())
    change(document)
    file.write_text(json.dumps(document), "utf-8")
    for command in ("verify", "lock"):
        assert main([command, "cat.yaml"]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert words in said and "lorapipe.lock" in said and "lock again" in said


def test_what_the_schema_of_a_lock_file_refuses_is_refused(here: Path) -> None:
    pipeline, ledger = loader.load("cat.yaml"), Ledger(here)
    file = here / "lorapipe.lock"
    for _, other in list(changed(json.loads(file.read_bytes())))[::7]:
        if not DOCUMENTS["lorapipe.lock"].fits(other):
            file.write_text(json.dumps(other), "utf-8")
            with pytest.raises(InputError, match=r"lorapipe\.lock"):
                differing(pipeline, ledger)
    file.write_text("[" * 100_000, "utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        differing(pipeline, ledger)


def test_what_the_schema_of_events_refuses_is_passed_over(here: Path) -> None:
    for name, document in written(here):
        if name == "event":
            for _, other in changed(document):
                fits = DOCUMENTS["event"].fits(other)
                assert len(list(events.readable([json.dumps(other)]))) == fits


def test_a_run_whose_note_was_edited_is_made_out_from_its_events(here: Path) -> None:
    runs = here / ".lorapipe" / "runs"
    whole = run_files.read(runs, 1, {})
    assert whole is not None and whole.status == "done"
    for _, other in changed(json.loads((runs / "1" / "run.json").read_bytes())):
        (runs / "1" / "run.json").write_text(json.dumps(other), "utf-8")
        read = run_files.read(runs, 1, {})
        assert read is not None and read.used == whole.used
        assert DOCUMENTS["run"].fits(other) or read.status == "done"


def test_problems_are_told_once_and_not_without_end() -> None:
    lines: JsonDocument = DOCUMENTS["lorapipe.lock"]
    many = {"version": 1, "pipelines": {f"{place}.yaml": 1 for place in range(1000)}}
    assert len(lines.problems(many, "file")) == 100
    with pytest.raises(InputError):
        lines.require(many, "file")
