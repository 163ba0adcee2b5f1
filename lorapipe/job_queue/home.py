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
    """The folder, created if need be. It is per machine too: machines may share a home folder, but not a database.

    `InputError` where it cannot be made.
    """
    named = os.environ.get(HOME)
    folder = named_path(named, HOME) if named else state_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(folder)
    except OSError as error:
        cure = f"Name another folder in the environment variable {HOME}."
        raise InputError(f"cannot be made: {error.strerror}.", where=str(folder), cure=cure) from None
    return folder


def _make_private(folder: Path) -> None:
    """Make our files private: they hold names of folders, settings, and addresses of webhooks."""
    for pattern in OURS if os.name == "posix" else ():
        for file in folder.glob(pattern):
            with suppress(OSError):  # another user's: he may read it
                found = file.lstat()
                if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
                    file.chmod(0o600)
