"""Serves the pages of results (reports, datasets, tunings) to ComfyUI's page, which opens them from their nodes.

ComfyUI itself sends HTML only as a download. Here pages are sandboxed: their scripts run without ComfyUI's origin, so they
cannot use its API. It uses `server.PromptServer` and aiohttp of ComfyUI, imported inside functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROUTE = "/lorapipe/results/"
ENDINGS = (".html", ".png", ".jpg", ".jpeg", ".webp")
HEADERS = {"Content-Security-Policy": "sandbox allow-scripts", "X-Content-Type-Options": "nosniff"}


def page_links(files: Iterable[Path], project: Path) -> list[str]:
    """Return the addresses of the pages among files, on ComfyUI's server."""
    pages = (file for file in files if file.suffix == ".html" and file.is_relative_to(project))
    return [ROUTE + quote(file.relative_to(project).as_posix()) for file in pages]


def file_at(path: str, project: Path) -> Path | None:
    """Return the file of an address; None if it is no page or picture of the project's."""
    found = (project / path).resolve()
    allowed = found.is_relative_to(project.resolve()) and found.suffix.lower() in ENDINGS
    return found if allowed and found.is_file() else None


def serve(project: Any) -> None:
    """Add the route to ComfyUI's server; `project()` returns the project's folder."""
    from aiohttp import web
    from server import PromptServer

    @PromptServer.instance.routes.get(ROUTE + "{path:.+}")
    async def result(request: Any) -> Any:
        found = file_at(request.match_info["path"], project())
        return web.Response(status=404) if found is None else web.FileResponse(found, headers=HEADERS)
