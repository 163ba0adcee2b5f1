"""Notifications when a job has ended: a command, a webhook. Their failures are only logged."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator

from lorapipe.job_queue.job import QueueJob
from lorapipe.watch.settings import WatchSettings

COMMAND_SECONDS = 60.0
WEBHOOK_SECONDS = 10.0


def notify(job: QueueJob, settings: WatchSettings, file: str) -> Iterator[str]:
    """Run the command and call the webhook; yield a line for each that failed."""
    facts = {
        "job": str(job.number),
        "name": job.title,
        "version": str(job.version),
        "state": job.state,
        "reason": job.reason,
        "folder": str(job.folder),
        "file": file,
    }
    if settings.command:
        yield from _start(settings.argv(), facts)
    if settings.webhook:
        yield from _post(settings.webhook, facts)


def _start(argv: list[str], facts: dict[str, str]) -> Iterator[str]:
    environment = {**os.environ, **{f"LORAPIPE_{name.upper()}": value for name, value in facts.items()}}
    try:
        run = subprocess.run(
            argv, env=environment, timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        yield f"the command could not be run: {error}"
        return
    if run.returncode:
        said = (run.stderr or run.stdout).decode("utf-8", "replace").strip()[-300:]
        yield f"the command ended with status {run.returncode}: {said}"


def _post(address: str, facts: dict[str, str]) -> Iterator[str]:
    data = json.dumps(facts, ensure_ascii=False).encode("utf-8")
    request = urllib.request.Request(address, data, {"Content-Type": "application/json", "User-Agent": "lorapipe"})
    try:
        with urllib.request.urlopen(request, timeout=WEBHOOK_SECONDS):
            pass
    except (OSError, ValueError) as error:
        yield f"the webhook could not be called: {error}"
