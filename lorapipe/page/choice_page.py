"""The page on which a person chooses, served while a run waits for that."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from lorapipe.page.choice_routes import ChoiceRoutes
from lorapipe.page.server import Page
from lorapipe.pipeline.events import Asked


class ChoicePage:
    """Serves the question of a run's stage; the server starts with the first question. `home` keeps the address's key."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._routes = ChoiceRoutes()
        self._page: Page | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._page is not None:
            self._page.__exit__(*error)

    def show(self, event: Asked) -> str:
        """Show what a stage asks, and return the page's address."""
        self._routes.ask(Path(event.question), Path(event.answer))
        if self._page is None:
            self._page = Page(self._routes, self._home).__enter__()
        return self._page.address
