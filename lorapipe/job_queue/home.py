"""The folder of lorapipe's per-user state: the queue, known digests, the page's key."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from lorapipe.errors import InputError
from lorapipe.spec.paths import named_path
from lorapipe.user_folders import state_folder

HOME = "LORAPIPE_HOME"
"""The environment variable that names another folder."""
OURS = ("queue.*", "digests.*", "page.key")


def home() -> Path:
    """Return the folder; create it if missing. It is per machine: machines may share a home folder, but not a database.

    `InputError` if it cannot be created.
    """
    named = os.environ.get(HOME)
    folder = named_path(named, HOME) if named else state_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(folder)
    except OSError as error:
        cure = f"Name another folder in the environment variable {HOME}."
        raise InputError(f"cannot be created: {error.strerror}.", where=str(folder), cure=cure) from None
    return folder


def _make_private(folder: Path) -> None:
    """Make the files private: they contain folder names, settings and webhook URLs."""
    for pattern in OURS if os.name == "posix" else ():
        for file in folder.glob(pattern):
            with suppress(OSError):  # the file belongs to another user
                found = file.lstat()
                if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
                    file.chmod(0o600)
