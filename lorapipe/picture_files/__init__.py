"""Classifies the files of a picture folder by name and place: pictures, captions, masks, and files to ignore.

`prepare`, its forecast, and the inbox share these rules. Uses only the standard library.
"""

from __future__ import annotations

from lorapipe.picture_files.caption_names import USUAL as CAPTIONS
from lorapipe.picture_files.contents import Contents, LeftOut, sort_out
from lorapipe.picture_files.ignored_names import ignore_reason
from lorapipe.picture_files.suffixes import is_picture, suffix_of

__all__ = ["CAPTIONS", "Contents", "LeftOut", "ignore_reason", "is_picture", "sort_out", "suffix_of"]
