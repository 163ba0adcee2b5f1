"""The folder of what lorapipe must remember for a user, whichever project it belongs to."""

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
    """Made if need be. Of this machine too: a home folder may be shared by several, and its database may not.

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
    """Take away what others may do with our files: they hold names of folders, settings, and addresses of messages."""
    for pattern in OURS if os.name == "posix" else ():
        for file in folder.glob(pattern):
            with suppress(OSError):  # another user's: he may read it
                found = file.lstat()
                if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
                    file.chmod(0o600)
