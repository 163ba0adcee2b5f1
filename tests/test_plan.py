"""The plan lists what will run, and why, and writes nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from outcomes import ends

from lorapipe.errors import InputError
from lorapipe.pipeline import loader
from lorapipe.pipeline.diff import why
from lorapipe.pipeline.execution.runner import Run
from lorapipe.pipeline.graph_export import dot, mermaid
from lorapipe.pipeline.keys import Identity
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.pipeline import Pipeline
from lorapipe.pipeline.plan import expected_seconds, plan


def planned(project: Path, *sets: str) -> dict[str, str]:
    """Return each stage's action and reason as text."""
    pipeline = loader.load(project / "cat.yaml", sets)
    ledger = Ledger(pipeline.folder)
    steps = plan(pipeline, ledger).stages
    ledger.close()
    return {step.name: f"{step.action} {step.reason}" for step in steps}


@pytest.fixture
def built(project: Path) -> Path:
    """The project after a complete run."""
    for _ in Run(loader.load(project / "cat.yaml"), on="inline"):
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
    (texts / "dog.HEIC").write_bytes(b"x")
    expected = "2 pictures added, 1 caption removed, 1 caption changed: cat.png, dog.HEIC, two.txt and 1 more"
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


# ------------------------------------------------------------------------------------------- choosing, drawing, purity


def test_only_what_was_chosen_and_what_it_needs(built: Path) -> None:
    pipeline = loader.load(built / "cat.yaml")
    assert list(pipeline.with_needs(["tally"]).stages) == ["text", "tally"]
    assert pipeline.and_after(["tally"]) == {"tally", "kept"}
    with pytest.raises(InputError, match="Did you mean 'tally'"):
        pipeline.with_needs(["taly"])


def test_what_is_asked_for_is_made_anew_and_stays_itself(built: Path) -> None:
    pipeline = loader.load(built / "cat.yaml")
    before = {manifest["key"]: manifest["finished"] for manifest in Ledger(built).manifests()}
    events = list(Run(pipeline, on="inline", anew=pipeline.and_after(["tally"])))
    assert ends(events) == {"text": "reused", "tally": "finished", "kept": "finished"}
    after = {manifest["key"]: manifest["finished"] for manifest in Ledger(built).manifests()}
    assert before.keys() == after.keys()
    assert sum(before[key] != after[key] for key in before) == 2


def test_the_graph_can_be_drawn(built: Path) -> None:
    pipeline = loader.load(built / "cat.yaml", ["tally.word=b"])
    planned = plan(pipeline, Ledger(built))
    drawn = mermaid(pipeline, planned)
    assert 's0["text<br/><small>words: reuse</small>"]:::reuse' in drawn and "  s0 --> s1" in drawn
    assert '"tally" -> "kept";' in dot(pipeline, planned)


def test_how_long_it_took_is_how_long_it_may_take(built: Path) -> None:
    ledger = Ledger(built)
    pipeline = loader.load(built / "cat.yaml", ["tally.word=b"])
    expected = expected_seconds(plan(pipeline, ledger).last_seconds(pipeline, ledger))
    assert expected is not None and 0 < expected < 30
    more = loader.load(built / "cat.yaml", ["tally.word=b", "kept.to=other.html"])
    renamed = Pipeline.build("new.yaml", built, more.stages)
    assert expected_seconds(plan(renamed, ledger).last_seconds(renamed, ledger)) is None


@pytest.mark.parametrize("state", ["fresh", "finished", "changed", "damaged"])
def test_planning_changes_no_byte(project: Path, state: str) -> None:
    def picture() -> dict[str, tuple[int, bytes]]:
        files = (file for file in project.rglob("*") if file.is_file())
        return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}

    if state != "fresh":
        list(Run(loader.load(project / "cat.yaml"), on="inline"))
    if state == "changed":
        (project / "texts" / "one.txt").write_text("other")
    if state == "damaged":
        next((project / ".lorapipe" / "store").glob("*/out/*")).unlink()
    before = picture()
    words = [sys.executable, "-m", "lorapipe", "plan", "cat.yaml"]
    assert subprocess.run(words, cwd=project, capture_output=True, check=True).stdout
    assert picture() == before
