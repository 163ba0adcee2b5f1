"""Prodigy's d_coef against the adapter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from lorapipe.rules import Facts, Finding, Rule
from lorapipe.rules._settings import rank_of

if TYPE_CHECKING:
    from lorapipe.training.options import TrainingOptions


class DCoefForAdapter(Rule):
    """Prodigy's d_coef is that of the adapter: 0.5 to 2, and up to 10 for LoKr, (IA)³ and ranks of 8 or less (guide §5)."""

    why: ClassVar[str] = (
        "It is a factor on the rate that prodigy finds: small adapters need a higher one, for others it overshoots."
    )
    change: ClassVar[str] = "Write d_coef: 2, or 8 for (IA)³."

    def findings(self, training: TrainingOptions, facts: Facts) -> Iterator[Finding]:
        d_coef: float | None = getattr(training.optimizer, "d_coef", None)
        adapter = training.adapter
        if d_coef is None or facts.is_pocket:
            return
        is_small = adapter.name in ("lokr", "ia3", "peft") or 0 < rank_of(adapter) <= 8
        if d_coef > 4 and not is_small:
            yield Finding(
                f"d_coef {d_coef:g} is for small adapters.", ("optimizer", "d_coef"), "Write d_coef: 2 or less."
            )
        if adapter.name == "ia3" and d_coef < 4:
            yield Finding(f"(IA)³ learns little with d_coef {d_coef:g}.", ("optimizer", "d_coef"), "Write d_coef: 8.")
