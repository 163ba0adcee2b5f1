"""Names to ignore: files and folders that operating systems, network drives, sync programs and photo apps create.

Photo apps ignore the same names. Case is ignored. The tables have only whole names that no one gives to pictures of their
own: `@artist` and `#holiday` are users' folders.
"""

from __future__ import annotations

NAS = "of a network drive"
BIN = "thrown away"
SNAPSHOT = "a snapshot of the disk"
SYSTEM = "left by the system"
SYNC = "of a sync program"
THUMBNAILS = "thumbnails of a photo app"
PHOTO_APP = "kept by a photo app"
CACHE = "a trainer's cache"

FOLDERS: dict[str, str] = {
    **dict.fromkeys(("@eadir", "@tmp", "@transcode", "@sharebin", "@appstore", "@autoupdate"), NAS),
    **dict.fromkeys(("@synodrive", "@synologydrive", "@sharesnap", "@__thumb", "@img_bkp_cache", "#synodrive"), NAS),
    **dict.fromkeys(("network trash folder", "temporary items", "thevolumesettingsfolder"), NAS),
    **dict.fromkeys(("#recycle", "@recycle", "@recycle.bin", "$recycle.bin", "recycler", "recycled"), BIN),
    **dict.fromkeys(("#trash", "$trash", "~recycle", "@deleted items", "#synorecycle", "#recycle bin"), BIN),
    **dict.fromkeys(("$recycle", "network recycle bin", "recycle bin"), BIN),
    **dict.fromkeys(("#snapshot", "#snapshots", "@recently-snapshot", "@snapshot", "~snapshot", "@gmt"), SNAPSHOT),
    **dict.fromkeys(("system volume information", "lost+found", "__macosx", "$extend"), SYSTEM),
    **dict.fromkeys(("_gsdata_", "_vti_cnf", "~syncthing~"), SYNC),
    **dict.fromkeys(("_latent_cache", "_t_e_cache", "_clip_vision_cache", "_controls"), CACHE),
    **dict.fromkeys(("__pycache__", "$windows.~bt", "$winreagent", "onedrivetemp"), SYSTEM),
    **dict.fromkeys(("picasa originals", "[originals]", "nksc_param", "zpscache"), PHOTO_APP),
}
"""Name of an ignored folder → what it is."""

ENDINGS: dict[str, str] = {
    ".lrdata": THUMBNAILS,  # Lightroom's previews
    ".photoslibrary": "a photo app's library",
    ".photolibrary": "a photo app's library",
    ".aplibrary": "a photo app's library",
    ".cocatalogdb": THUMBNAILS,
}
"""Suffix of ignored folders → what they are; no picture has such a suffix."""

RESOURCES = ("@synoeastream", "@synoresource")
"""Suffixes of files and folders in which a Synology keeps macOS metadata."""

FILES = {
    "thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "folder.ini", "icon\r",
    "picasa.ini", "zbthumbnail.info", "pspbrwse.jbf", "thumbnails-digikam.db", "albumartsmall.jpg",
}  # fmt: skip
"""Names of ignored files."""


def ignore_reason(name: str, folder: bool | None = None) -> str:
    """Say why a name is ignored; empty if it is not. `folder`: whether it is a folder; None if unknown."""
    if name.startswith("."):
        return "hidden"
    plain = name.casefold()
    if folder is not True and plain in FILES:
        return SYSTEM
    if plain.endswith(RESOURCES):
        return NAS
    if folder is False:
        return "left by an office program" if plain.startswith("~$") else ""
    if found := FOLDERS.get(plain):
        return found
    if plain.startswith("found.") and plain[6:].isdecimal():
        return SYSTEM
    if plain.startswith("@gmt-"):
        return SNAPSHOT
    return ENDINGS.get(plain[plain.rfind(".") :], "") if "." in plain else ""
