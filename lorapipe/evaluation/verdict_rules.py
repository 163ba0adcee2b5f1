"""Rules of the verdict: each looks at the results for one state of affairs; the first that applies is the verdict.

They are a training guide's: a LoRA should work at strength 1; one that needs less is over-fit, one that needs more wants
more training or a higher rate; from no effect over growing likeness to over-fit is the natural progress, so the best of
the snapshots is kept; one that is over-fit from the start wants a lower rate; noise wants a rate at least 8 times lower.
While the loss on held-out pictures still falls, later snapshots that are worse are no over-training.
"""

from __future__ import annotations

from collections.abc import Callable

from lorapipe.evaluation.diagnosis import Diagnosis
from lorapipe.evaluation.failure_rules import broken, copies, no_effect, takes_over, unheeded
from lorapipe.evaluation.progress_rules import (
    broke_down_early,
    falls_apart,
    from_the_start,
    good,
    needs_lowering,
    needs_raising,
    still_rising,
    stuck,
    unfollowed,
    unmeasured,
    worse_than_base,
)
from lorapipe.evaluation.results import Results

RULES: tuple[Callable[[Results], Diagnosis | None], ...] = (
    broken,
    no_effect,
    copies,
    unheeded,
    takes_over,
    needs_lowering,
    broke_down_early,
    worse_than_base,
    falls_apart,
    needs_raising,
    unfollowed,
    still_rising,
    from_the_start,
    stuck,
    unmeasured,
    good,
)
"""By severity."""


def diagnosis(results: Results) -> Diagnosis:
    """What the first rule that applies says."""
    return next(found for rule in RULES if (found := rule(results)) is not None)
