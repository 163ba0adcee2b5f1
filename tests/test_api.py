"""The Python API of `import lorapipe`: load, plan, run, Run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lorapipe
from lorapipe.errors import LorapipeError
from lorapipe.pipeline.events import Finished, Planned, Reused


def test_a_pipeline_is_read_planned_and_run(project: Path) -> None:
    pipeline = lorapipe.load(project / "cat.yaml", ["tally.word=c"])
    assert [stage.action for stage in lorapipe.plan(pipeline).stages] == ["run"] * 3
    events: list[object] = []
    artifacts = lorapipe.run(pipeline, events.append, on="inline")
    assert list(artifacts) == ["text", "tally", "kept"]
    assert sum(isinstance(event, Finished) for event in events) == 3
    assert [stage.action for stage in lorapipe.plan(pipeline).stages] == ["reuse"] * 3
    assert [stage.action for stage in lorapipe.plan(pipeline, {"tally"}).stages] == ["reuse", "run", "run"]


def test_a_run_is_an_iterator_that_knows_what_it_made(project: Path) -> None:
    run = lorapipe.Run(lorapipe.load(project / "cat.yaml"), on="inline")
    assert run.number is None and not run.artifacts
    assert isinstance(next(run), Planned) and run.number == 1
    kinds = [type(event) for event in run]
    assert kinds.count(Finished) == 3 and not run.failures
    assert list(run.artifacts) == ["text", "tally", "kept"]
    again = lorapipe.Run(lorapipe.load(project / "cat.yaml"), on="inline")
    assert sum(isinstance(event, Reused) for event in again) == 3 and again.number == 2
    assert again.artifacts == run.artifacts


def test_what_failed_is_named_when_the_rest_is_done(project: Path) -> None:
    (project / "p.yaml").write_text(
        "stages:\n  text: {uses: words, folder: texts}\n  bad: {uses: trouble, how: bug}\n", encoding="utf-8"
    )
    pipeline = lorapipe.load(project / "p.yaml")
    run = lorapipe.Run(pipeline, on="inline")
    list(run)
    assert [failed.stage for failed in run.failures] == ["bad"] and list(run.artifacts) == ["text"]
    with pytest.raises(LorapipeError, match="bad"):
        lorapipe.run(pipeline, on="inline")


def test_leaving_a_run_ends_it(project: Path) -> None:
    with lorapipe.Run(lorapipe.load(project / "cat.yaml"), on="inline") as run:
        next(run)
    assert list(run) == [] and not run.artifacts


def test_importing_it_loads_nothing_of_the_engine() -> None:
    script = (
        "import sys, lorapipe; print([name for name in sys.modules if name.startswith(('lorapipe.', 'torch', 'yaml'))])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert set(lorapipe.__all__) <= {*dir(lorapipe.api), "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'fly'"):
        lorapipe.fly  # noqa: B018
