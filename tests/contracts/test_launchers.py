"""Every launcher runs stages alike: the same bytes, events, logs and failures, also after a stop, a kill and a resume."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from outcomes import ends

from lorapipe.pipeline import loader
from lorapipe.pipeline.events import Event, Failed, Log, Metric
from lorapipe.pipeline.execution.launchers import Launcher
from lorapipe.pipeline.execution.pool import Pool
from lorapipe.pipeline.execution.runner import Run, open_pool
from lorapipe.pipeline.pipeline import Pipeline

NAMES = Launcher.registry.names() if Launcher.registry else []
HERE: dict[str, dict[str, Any]] = {
    "slurm": {"cluster": "local", "gpus": 0, "jobs": 2, "memory_gb": 1},
    "ray": {"gpus": 0, "workers": 2},
}
"""Settings with which a launcher runs on this machine, without a cluster or with a local one."""
IN_THIS_PROCESS = ("inline",)
"""Launchers without a worker process: it cannot be lost, and the output of stages is the driver's."""
PACKAGES = {"slurm": "submitit", "ray": "ray"}
STAGES = """\
stages:
  text: {uses: words, folder: texts}
  tally: {uses: count_on_device, text: $text, steps: 300, pause: 0.01}
  loud: {uses: trouble_on_device, how: noise, text: $text}
"""


@pytest.fixture(scope="module", params=NAMES)
def launcher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A launcher's name; for Ray, with a local cluster of two workers."""
    name = request.param
    if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None:
        pytest.skip(f"{PACKAGES[name]} is not installed")
    if name != "ray":
        yield name
        return
    import ray

    path = str(Path(__file__).parents[1] / "toys")
    environment = {"env_vars": {"PYTHONPATH": path, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}}
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    ray.init("local", num_cpus=2, runtime_env=environment, **quiet)  # not an existing cluster
    yield name
    ray.shutdown()


@pytest.fixture
def pool(launcher: str) -> Iterator[Pool]:
    with closing(open_pool({"type": launcher, **HERE.get(launcher, {})})) as made:
        yield made


def load(project: Path, text: str = STAGES, *sets: str) -> Pipeline:
    (project / "p.yaml").write_text(text, encoding="utf-8")
    return loader.load(project / "p.yaml", sets)


def test_it_runs_stages_tells_all_of_it_and_keeps_the_log(project: Path, pool: Pool, launcher: str) -> None:
    events = list(Run(load(project, STAGES, "tally.steps=3"), pool=pool))
    assert ends(events) == {"text": "finished", "tally": "finished", "loud": "finished"}
    assert [event.step for event in events if isinstance(event, Metric)] == [0, 1, 2]
    assert (project / "outputs" / "tally" / "tally.html").read_text() == "<p>3</p>"
    noise = {log.read_text() for log in (project / ".lorapipe" / "store").glob("*/log.txt")}
    assert launcher in IN_THIS_PROCESS or "noise from C\na warning from C\nnoise from Python\n" in noise
    assert not list((project / ".lorapipe" / "work").iterdir())


def test_a_stopped_stage_saves_and_goes_on(project: Path, pool: Pool) -> None:
    events: list[Event] = []

    def stopping() -> int:
        return int(sum(isinstance(event, Metric) for event in events) > 2)

    for event in Run(load(project), pool=pool, stopping=stopping):
        events.append(event)
    assert ("tally", "cancelled") in [(event.stage, event.cause) for event in events if isinstance(event, Failed)]
    again = list(Run(load(project, STAGES, "tally.pause=0"), pool=pool))
    assert ends(again)["tally"] == "finished"
    assert min(event.step for event in again if isinstance(event, Metric)) >= 3


def test_a_failure_is_told_as_it_is(project: Path, pool: Pool, launcher: str) -> None:
    text = "stages:\n  bad: {uses: trouble_on_device, how: memory}\n"
    [failed] = [event for event in Run(load(project, text), pool=pool) if isinstance(event, Failed)]
    assert (failed.cause, failed.message) == ("oom", "CUDA out of memory. Tried to allocate 2 GiB")
    if launcher not in IN_THIS_PROCESS:
        assert "RuntimeError" in Path(failed.hint.partition("Its log: ")[2]).read_text("utf-8")


def test_a_killed_worker_costs_one_more_try(project: Path, pool: Pool, launcher: str) -> None:
    if launcher in IN_THIS_PROCESS:
        pytest.skip("it has no process of its own to lose")
    events = list(Run(load(project, "stages:\n  a: {uses: trouble_on_device, how: die once}\n"), pool=pool))
    assert ends(events) == {"a": "finished"}
    assert [event for event in events if isinstance(event, Log) and "is started again" in event.text]
