"""`gc` never removes results that a running run uses, including those that it has only just found or made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from outcomes import ends

from lorapipe import api
from lorapipe.pipeline import gc_roots, loader
from lorapipe.pipeline.events import Event, Planned
from lorapipe.pipeline.execution.runner import Run
from lorapipe.pipeline.garbage_collection import clean, waste
from lorapipe.pipeline.gc_roots import Roots, removing, rooted
from lorapipe.pipeline.ledger import Ledger


def cleaned(folder: Path) -> set[str]:
    """Remove all that can be removed, and return the kinds."""
    with closing(Ledger(folder)) as ledger:
        found = waste(ledger, 0)
        clean(ledger, found)
        return {each.kind for each in found}


def test_a_root_counts_as_long_as_its_run_is_at_work(tmp_path: Path) -> None:
    assert rooted(tmp_path) is None
    roots, other = Roots(tmp_path), Roots(tmp_path)
    assert rooted(tmp_path) == set()
    assert roots.add(["a", "b"]) and other.add(["c"])
    assert rooted(tmp_path) == {"a", "b", "c"}
    roots.close()
    assert rooted(tmp_path) == {"c"}
    other.close()
    assert rooted(tmp_path) is None and not [*tmp_path.glob(f"*{gc_roots.ROOTS}*")]


def test_a_run_that_was_killed_keeps_nothing(tmp_path: Path) -> None:
    at_work = "from lorapipe.pipeline.gc_roots import Roots; roots = Roots(pathlib.Path(sys.argv[1])); roots.add(['a'])"
    words = [sys.executable, "-c", f"import pathlib, sys; {at_work}; print(flush=True); input()", str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        assert rooted(tmp_path) == {"a"}
        os.kill(process.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
    assert rooted(tmp_path) is None and not [*tmp_path.glob(f"*{gc_roots.ROOTS}*")]


def test_a_run_looks_again_where_something_was_removed_since_it_looked(tmp_path: Path) -> None:
    with closing(Roots(tmp_path)) as roots:
        with removing(tmp_path) as used:
            assert used == set()
        assert not roots.add(["a"]) and roots.add(["a"])
        with removing(tmp_path) as used:
            assert used == {"a"}
        assert not roots.add(["b"])


def test_every_step_of_a_run_outlasts_a_cleaning_after_it(project: Path) -> None:
    """No earlier run used any of its results, so the database does not know them."""
    events: list[Event] = []
    for event in Run(loader.load(project / "cat.yaml"), on="inline"):
        cleaned(project)
        events.append(event)
    assert set(ends(events).values()) == {"finished"}
    assert {step.action for step in api.plan(loader.load(project / "cat.yaml")).stages} == {"reuse"}


def test_old_results_that_a_run_takes_up_again_stay(project: Path) -> None:
    first, second = loader.load(project / "cat.yaml", ["tally.steps=7"]), loader.load(project / "cat.yaml")
    api.run(first, on="inline")
    api.run(second, on="inline")
    with closing(Ledger(project)) as ledger:
        found = [each for each in waste(ledger, 0) if each.kind == "result"]
        assert found
        events: list[Event] = []
        for event in Run(first, on="inline"):
            if not isinstance(event, Planned):
                clean(ledger, found)
            events.append(event)
        assert set(ends(events).values()) == {"reused"}
        clean(ledger, found)  # the run has ended, and its results are the last ones of its pipeline
    assert {step.action for step in api.plan(first).stages} == {"reuse"}


def test_cache_entries_stay_while_a_run_is_at_work(project: Path) -> None:
    api.run(loader.load(project / "cat.yaml"), on="inline")
    entry = project / ".lorapipe" / "cache" / "latents" / "ab" / "abc"
    entry.parent.mkdir(parents=True)
    entry.write_text("x")
    with closing(Roots(project / ".lorapipe" / "locks")):
        assert "cache entry" not in cleaned(project) and entry.exists()
    with closing(Ledger(project)) as ledger:
        found = waste(ledger, 0)
        with closing(Roots(ledger.locks)):
            clean(ledger, found)
            assert entry.exists()
    assert "cache entry" in cleaned(project) and not entry.exists()


def test_a_run_of_another_project_keeps_what_it_uses_of_a_shared_store(project: Path, shared_with: Path) -> None:
    other = shared_with
    api.run(loader.load(other / "cat.yaml"), on="inline")
    events: list[Event] = []
    for event in Run(loader.load(project / "cat.yaml"), on="inline"):
        cleaned(other)
        events.append(event)
    assert set(ends(events).values()) == {"reused"}
