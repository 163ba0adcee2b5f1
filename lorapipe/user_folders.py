"""The folders outside every project that lorapipe keeps for this user on this machine, where each system has them.

A home folder may be shared by several machines, and neither a database nor a lock may be, so both names hold the machine's.
Where nothing is asked for, `platformdirs` is not loaded.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

NAME = "lorapipe"


def state_folder() -> Path:
    """The folder for state that must persist, such as the queue. It need not exist.

    Linux `$XDG_STATE_HOME` or `~/.local/state`, macOS `~/Library/Application Support`, Windows `%LOCALAPPDATA%`.
    """
    from platformdirs import PlatformDirs

    folder = PlatformDirs(NAME, appauthor=False).user_state_path
    former = _former_state_folder()
    if former is not None and former.is_dir():
        folder = former
    return folder if sys.platform == "win32" else folder / os.uname().nodename


def _former_state_folder() -> Path | None:
    """Where earlier releases kept it; it differs if environment variables name other folders."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / NAME
    if sys.platform == "win32" and (base := os.environ.get("LOCALAPPDATA")):
        return Path(base) / NAME
    return None


def device_locks_folder() -> Path:
    """The lock files of this machine's devices.

    Linux and macOS `$XDG_CACHE_HOME` or `~/.cache`, Windows `%LOCALAPPDATA%`.
    """
    from platformdirs import PlatformDirs
    from platformdirs.unix import Unix

    if sys.platform == "win32":
        base = PlatformDirs(NAME, appauthor=False, opinion=False).user_cache_path
        return base / "devices" / os.environ.get("COMPUTERNAME", "machine")
    return Unix(NAME).user_cache_path / "devices" / os.uname().nodename
