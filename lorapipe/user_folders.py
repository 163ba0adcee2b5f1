"""lorapipe's folders for this user on this machine, outside every project, in each system's usual place.

Several machines may share a home folder, but not a database or a lock, so both folder names contain the machine's name.
`platformdirs` is imported on first use.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

NAME = "lorapipe"


def state_folder() -> Path:
    """Return the folder for persistent state, such as the queue. It may not exist yet.

    Linux `$XDG_STATE_HOME` or `~/.local/state`, macOS `~/Library/Application Support`, Windows `%LOCALAPPDATA%`.
    """
    from platformdirs import PlatformDirs

    folder = PlatformDirs(NAME, appauthor=False).user_state_path
    former = _former_state_folder()
    if former is not None and former.is_dir():
        folder = former
    return folder if sys.platform == "win32" else folder / os.uname().nodename


def _former_state_folder() -> Path | None:
    """Return the folder of earlier releases, which differs if environment variables name other folders."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / NAME
    if sys.platform == "win32" and (base := os.environ.get("LOCALAPPDATA")):
        return Path(base) / NAME
    return None


def device_locks_folder() -> Path:
    """Return the folder with the lock files of this machine's devices.

    Linux and macOS `$XDG_CACHE_HOME` or `~/.cache`, Windows `%LOCALAPPDATA%`.
    """
    from platformdirs import PlatformDirs
    from platformdirs.unix import Unix

    if sys.platform == "win32":
        base = PlatformDirs(NAME, appauthor=False, opinion=False).user_cache_path
        return base / "devices" / os.environ.get("COMPUTERNAME", "machine")
    return Unix(NAME).user_cache_path / "devices" / os.uname().nodename


def picture_facts_folder() -> Path:
    """Return the folder with what was seen in folders of pictures, which can be deleted at any time."""
    from platformdirs import PlatformDirs

    return PlatformDirs(NAME, appauthor=False).user_cache_path / "picture-facts"


def thumbnails_folder() -> Path:
    """Return the folder with small versions of pictures, which can be deleted at any time."""
    from platformdirs import PlatformDirs

    return PlatformDirs(NAME, appauthor=False).user_cache_path / "thumbnails"
