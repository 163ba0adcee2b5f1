"""What the files of a folder of pictures are, by their names and places: one rule for all that look through one.

`prepare`, its forecast, and the inbox ask here. Nothing but the standard library is loaded for it.
"""

from __future__ import annotations

from lorapipe.picture_files.caption_names import USUAL as CAPTIONS
from lorapipe.picture_files.contents import Contents, LeftOut, sort_out
from lorapipe.picture_files.ignored_names import ignore_reason
from lorapipe.picture_files.suffixes import is_picture, suffix_of

__all__ = ["CAPTIONS", "Contents", "LeftOut", "ignore_reason", "is_picture", "sort_out", "suffix_of"]
