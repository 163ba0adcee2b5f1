"""Check a dropped folder's settings in a separate process, with limits on time and memory.

So settings that crash or hang their reader affect only that process.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

from lorapipe.errors import InputError, Problem
from lorapipe.spec import from_dict, to_dict
from lorapipe.watch.folder_settings import OVERRIDES
from lorapipe.watch.pipeline_writer import DroppedFolder, InboxPipeline, write
from lorapipe.watch.settings import WatchSettings

MOST_MEMORY = 2_000_000_000
"""Limit of the address space in bytes, if the system supports it; a tenth is usual."""
PATIENCE = 5
"""Most wall-clock time, as a multiple of the limit of CPU time: the machine may be busy."""
TOO_MUCH = 3
"""Exit status of the process if memory was not enough."""
NEW_GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
"""Windows' counterpart of a new session: Ctrl-C must not reach the process, or stopping the watcher would fail a job."""
CURE = "Shorten it: `vars:` and `stages:` with only the settings to change."


def check_apart(template: InboxPipeline, dropped: DroppedFolder) -> None:
    """Raise `InputError` if a folder's settings are wrong, or if reading them exceeds the limits."""
    seconds = template.watching.reading_seconds
    try:
        run = subprocess.run(
            [sys.executable, "-m", __name__],
            input=json.dumps(_request(template, dropped)).encode(),
            capture_output=True,
            timeout=PATIENCE * seconds,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            check=False,
            creationflags=NEW_GROUP,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise _refusal(dropped, f"takes longer than {PATIENCE * seconds:g} s to read.") from None
    if run.returncode < 0 or run.returncode == TOO_MUCH:
        raise _refusal(dropped, f"takes more than {seconds:g} s of CPU time, or too much memory, to read.")
    if run.returncode:
        raise _refusal(dropped, f"cannot be read: {run.stderr.decode('utf-8', 'replace').strip()[-300:]}")
    if problems := json.loads(run.stdout):
        raise InputError(Problem(**{**problem, "path": tuple(problem["path"])}) for problem in problems)


def _refusal(dropped: DroppedFolder, what: str) -> InputError:
    return InputError(what, where=str(dropped.images / OVERRIDES), cure=CURE)


def _request(template: InboxPipeline, dropped: DroppedFolder) -> dict[str, object]:
    pipeline = str(template.pipeline) if template.pipeline else None
    place = {"images": str(dropped.images), "name": dropped.name, "folder": str(dropped.folder), "file": dropped.file}
    return {"pipeline": pipeline, "sets": template.sets, "watching": to_dict(template.watching), "order": place}


def _bind(seconds: float) -> None:
    """Limit the CPU time and memory of this process, if the system can."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))


def main() -> int:
    """Read the request of `check_apart` from standard input, and write the problems to standard output."""
    given = json.load(sys.stdin.buffer)
    watching = from_dict(WatchSettings, given["watching"])
    _bind(watching.reading_seconds)
    place = given["order"]
    dropped = DroppedFolder(Path(place["images"]), place["name"], Path(place["folder"]), place["file"])
    template = InboxPipeline(Path(given["pipeline"]) if given["pipeline"] else None, tuple(given["sets"]), watching)
    problems: list[dict[str, object]] = []
    try:
        write(template, dropped)
    except InputError as error:
        problems = [vars(problem) for problem in error.problems]
    except (MemoryError, RecursionError):
        return TOO_MUCH
    sys.stdout.write(json.dumps(problems))
    return 0


if __name__ == "__main__":
    sys.exit(main())
