"""The plan says what will run and why, before anything does, and writes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lorapipe.pipeline.keys import Identity
from lorapipe.pipeline.language import Pipeline
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.plan import plan
from lorapipe.pipeline.reasons import why
from lorapipe.pipeline.run import run


def planned(project: Path, *sets: str) -> dict[str, str]:
    """Each stage's action and reason, as words."""
    pipeline = Pipeline.load(project / "cat.yaml", sets)
    ledger = Ledger(pipeline.folder)
    steps = plan(pipeline, ledger).steps
    ledger.close()
    return {step.name: f"{step.action} {step.reason}" for step in steps}


@pytest.fixture
def built(project: Path) -> Path:
    """The project, with everything made."""
    for _ in run(Pipeline.load(project / "cat.yaml"), on="inline"):
        pass
    return project


def test_at_first_everything_runs_and_nothing_is_written(project: Path) -> None:
    before = sorted(project.rglob("*"))
    assert planned(project) == {"text": "run first run", "tally": "run after text", "kept": "run after tally"}
    assert sorted(project.rglob("*")) == before


def test_afterwards_everything_is_reused(built: Path) -> None:
    assert set(planned(built).values()) == {"reuse unchanged"}


def test_a_changed_knob_is_named_with_both_values(built: Path) -> None:
    found = planned(built, "tally.least=3", "tally.word=b")
    assert found["text"] == "reuse unchanged"
    assert found["tally"] == "run word a → b, least 0 → 3"
    assert found["kept"] == "run after tally"


def test_what_is_not_content_changes_nothing(built: Path) -> None:
    assert set(planned(built, "text.note=a remark", "tally.pause=0.1", "kept.to=other.html").values()) == {
        "reuse unchanged"
    }


def test_changed_files_are_counted_and_named(built: Path) -> None:
    texts = built / "texts"
    (texts / "one.txt").write_text("changed")
    (texts / "two.txt").unlink()
    (texts / "cat.png").write_bytes(b"x")
    (texts / "dog.JPG").write_bytes(b"x")
    expected = "2 pictures added, 1 caption removed, 1 caption changed: cat.png, dog.JPG, two.txt and 1 more"
    assert planned(built)["text"] == f"run {expected}"


def test_a_renamed_stage_and_a_moved_folder_keep_their_results(built: Path) -> None:
    text = (built / "cat.yaml").read_text().replace("$text", "$words").replace("  text: {", "  words: {")
    (built / "cat.yaml").write_text(text)
    assert set(planned(built).values()) == {"reuse unchanged"}
    shutil.copytree(built / "texts", built / "copy")
    assert set(planned(built, "vars.folder=copy").values()) == {"reuse unchanged"}


def test_damage_is_said(built: Path) -> None:
    [page] = (built / ".lorapipe" / "store").glob("*/out/tally.html")
    page.chmod(0o600)
    page.unlink()
    found = planned(built)
    assert found["tally"] == "run its result is damaged: out/tally.html" and found["kept"] == "run after tally"


def test_a_lost_store_is_said(built: Path) -> None:
    for folder in (built / ".lorapipe" / "store").iterdir():
        shutil.rmtree(folder)
    assert planned(built)["text"] == "run its last result is gone"


def test_a_newer_stage_or_library_is_said() -> None:
    old = {"settings": {"(made by)": {"version": 1, "libraries": {"diffusers": "0.36"}}}, "sources": {}}
    newer = Identity("k", {}, lambda: {"(made by)": {"version": 1, "libraries": {"diffusers": "0.37"}}})
    other = Identity("k", {}, lambda: {"(made by)": {"version": 2, "libraries": {}}})
    assert why(old, newer) == "diffusers 0.36 → 0.37"
    assert why(old, other) == "lorapipe now does this stage differently"


def test_another_implementation_is_said_by_its_name() -> None:
    old = {"settings": {"optimizer": {"type": "adamw", "beta": 0.9}, "steps": "10 steps"}, "sources": {}}
    new = Identity("k", {}, lambda: {"optimizer": {"type": "prodigy", "d0": 1e-6}, "steps": "10 epochs"})
    assert why(old, new) == "optimizer adamw → prodigy, steps 10 steps → 10 epochs"
