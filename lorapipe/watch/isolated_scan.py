"""Look at the pictures of a dropped folder in a separate process, before its pipeline is written.

What was seen is kept in the user's cache folder (`starting_settings.picture_facts`), from which the watcher reads it. So a
picture that crashes or hangs its decoder affects only that process, and the watcher stays small.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from lorapipe.errors import InputError
from lorapipe.watch.isolated_check import NEW_GROUP

SECONDS = 900
"""Most wall-clock time; 2,000 pictures take some 10 s of CPU time."""


def scan_isolated(images: Path) -> None:
    """Look at a folder's pictures. `InputError` if one of them crashes or hangs its decoder."""
    what = ""
    try:
        run = subprocess.run(
            [sys.executable, "-m", __name__, images],
            capture_output=True,
            timeout=SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            check=False,
            creationflags=NEW_GROUP,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        what = f"has pictures that take longer than {SECONDS // 60} minutes to look at."
    else:
        if run.returncode:
            last = run.stderr.decode("utf-8", "replace").strip()[-300:] or f"status {run.returncode}"
            what = f"has a picture that crashes its decoder ({last})."
    if what:
        raise InputError(what, where=str(images), cure="Take out pictures that no other program opens.")


def main() -> int:
    """Look at the folder that is the argument; what is wrong with it is reported by the watcher itself."""
    from lorapipe.starting_settings.folder_facts import facts_of

    with suppress(InputError):
        facts_of(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
