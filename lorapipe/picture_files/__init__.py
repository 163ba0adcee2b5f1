"""What the files of a folder of pictures are, by their names and places: one rule for all that look through one.

`prepare`, its forecast, and the inbox ask here. Nothing but the standard library is loaded for it.
"""

from __future__ import annotations

from lorapipe.picture_files.caption_names import USUAL as CAPTIONS
from lorapipe.picture_files.contents import Contents, LeftOut, sort_out
from lorapipe.picture_files.endings import ending, is_picture
from lorapipe.picture_files.left_behind import passed_over

__all__ = ["CAPTIONS", "Contents", "LeftOut", "ending", "is_picture", "passed_over", "sort_out"]
