"""The history of runs: stages, why they ran, how long they took, how they ended, and their metrics.

It is read from the events in `runs/<n>/events.jsonl`; the database only lists the runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lorapipe.errors import InputError, near_miss
from lorapipe.pipeline import run_files
from lorapipe.pipeline.diff import differences
from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.manifest import Manifest
from lorapipe.pipeline.run_state import RunState, StageState

STAGE_FIELDS = ("name", "reason", "end", "key", "seconds", "message", "files", "metrics")
"""The fields of a stage in JSON."""


@dataclass
class RunRecord:
    """One run. `status` is done, failed, interrupted, or running (also if it was killed)."""

    number: int
    pipeline: str
    started: float
    finished: float | None
    status: str
    stages: dict[str, StageState] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Return the record as JSON types."""
        stages = {name: {each: getattr(stage, each) for each in STAGE_FIELDS} for name, stage in self.stages.items()}
        return {**vars(self), "stages": stages}


def runs(ledger: Ledger) -> list[RunRecord]:
    """Return all runs, the last one first, without their stages."""
    ledger.records.catch_up()
    return [RunRecord(*row) for row in ledger.records.runs()]


def read_run(ledger: Ledger, number: int) -> RunRecord:
    """Return one run with its stages. `InputError` if there is no such run."""
    known = runs(ledger)
    found = next((each for each in known if each.number == number), None)
    if found is None:
        cure = f"The last run is {known[0].number}." if known else "There are no runs here yet."
        raise InputError(f"there is no run {number}.", cure=cure)
    found.stages = _stages(ledger, number)
    return found


def runs_of(ledger: Ledger, stage: str) -> Iterator[tuple[int, StageState]]:
    """Yield the runs that had a stage, the last one first, and the stage's state. `InputError` if there is none."""
    had, others = False, dict[str, None]()
    for each in runs(ledger):
        stages = _stages(ledger, each.number)
        others.update(dict.fromkeys(stages))
        if stage in stages:
            had = True
            yield each.number, stages[stage]
    if not had:
        raise InputError(f"no run has a stage {stage!r}.", cure=near_miss(stage, list(others)))


def _stages(ledger: Ledger, number: int) -> dict[str, StageState]:
    """Return the state of each stage after a run's events."""
    return RunState.of(run_files.events(ledger.runs / str(number))).stages


def compare(ledger: Ledger, first: RunRecord, second: RunRecord) -> dict[str, list[str]]:
    """Return the differences between two runs by stage: knobs and inputs, then metrics."""
    found = {}
    for name in {**first.stages, **second.stages}:
        before, after = first.stages.get(name), second.stages.get(name)
        if before is None or after is None:
            found[name] = [f"only in run {(first if after is None else second).number}"]
            continue
        lines = _knobs(ledger.manifest(before.key), ledger.manifest(after.key)) if before.key != after.key else []
        lines += _metrics(before.metrics, after.metrics)
        if before.end != after.end and {before.end, after.end} != {"finished", "reused"}:
            lines.append(f"{before.end or 'not ended'} → {after.end or 'not ended'}")
        if lines:
            found[name] = lines
    return found


def _metrics(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    both = [name for name in before if name in after]
    return [f"{name} {before[name]:.6g} → {after[name]:.6g}" for name in both if before[name] != after[name]]


def _knobs(old: Manifest | None, new: Manifest | None) -> list[str]:
    if old is None or new is None:
        return ["another result, which no longer exists"]
    return differences(old, new)
