"""What a run of a pipeline would do next, by the results in the store; nothing runs, and nothing is written."""

from __future__ import annotations

from dataclasses import dataclass

from lorapipe.pipeline.ledger import Ledger
from lorapipe.pipeline.pipeline import Pipeline


@dataclass(frozen=True)
class NextRun:
    """The pipeline that would run next: the whole one, a round of its tuning, or a part of its halved matrix.

    `is_whole` where nothing follows it: of a tuning that has ended, it has the best settings. `told` is what a plan says of
    all that was before.
    """

    pipeline: Pipeline
    is_whole: bool = True
    told: tuple[str, ...] = ()


def next_run(pipeline: Pipeline, ledger: Ledger) -> NextRun:
    """Return what a run of a pipeline would do next."""
    if pipeline.tune is not None:
        from lorapipe.tuning import rounds

        tuned, change, following = rounds.stored(pipeline, ledger)
        return NextRun(following, tuned.end is not None, tuple(rounds.told(tuned, change)))
    if pipeline.halved is not None:
        from lorapipe.tuning import successive_halving

        state = successive_halving.stored(pipeline, ledger)
        return NextRun(state.following, state.is_last, state.told)
    return NextRun(pipeline)
