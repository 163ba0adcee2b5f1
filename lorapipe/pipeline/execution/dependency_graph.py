"""The dependency graph of a run: which stages can run, as those that they need are settled."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Mapping


class DependencyGraph:
    """The stages of a run and what they need: `ready` are those whose needs are all settled and that have not been taken,
    `unsettled` all that are not settled yet.
    """

    def __init__(self, needs: Mapping[str, tuple[str, ...]]) -> None:
        self._needs = needs
        self._open = {name: len(each) for name, each in needs.items()}
        self._dependents: dict[str, list[str]] = {name: [] for name in needs}
        for name, each in needs.items():
            for need in each:
                self._dependents[need].append(name)
        self.ready = deque(name for name, count in self._open.items() if not count)
        self.unsettled = set(needs)

    def settle(self, name: str, made: Container[str]) -> list[tuple[str, list[str]]]:
        """Mark a stage as settled; `made` are those with a result. Returns the stages that can no longer run, each with what
        it lacks.
        """
        out_of_reach = []
        waiting = deque([name])
        while waiting:
            settled = waiting.popleft()
            self.unsettled.remove(settled)
            for each in self._dependents[settled]:
                self._open[each] -= 1
                if self._open[each]:
                    continue
                missing = [need for need in self._needs[each] if need not in made]
                if missing:
                    out_of_reach.append((each, missing))
                    waiting.append(each)
                else:
                    self.ready.append(each)
        return out_of_reach
