"""The editor's routes, without HTTP: the page, the folder's pictures and captions, previews of edits, and saving.

    (nothing), editor.js …   the page itself
    dataset                  the pictures, their caption files, the texts; read anew each time
    pictures                 sizes, buckets and copies, as far as they are known
    thumbs/12, views/12      a picture by its number, small and large
    similar/12               the numbers of the pictures that look most like one
    edits                    (POST) what edits make of captions; nothing is written
    analysis                 (POST) what captions teach
    captions                 (POST) captions of files as they are now
    save                     (POST) write captions

What is posted is JSON with the folder's mark, so that a page of another folder does nothing here. Pictures have numbers and
caption files must be the folder's, so no path leads elsewhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import cast

from lorapipe.caption_analysis.analysis import analyse
from lorapipe.caption_analysis.settings import TagSettings
from lorapipe.caption_analysis.tagger_comparison import tagger_captions
from lorapipe.captioning.edits import Edit, apply_edits
from lorapipe.errors import InputError
from lorapipe.page.answers import NOT_THERE, OURS, PICTURE, Answer, tag_of, told
from lorapipe.spec import from_dict
from lorapipe.tag_editor.caption_writer import WantedCaption, save
from lorapipe.tag_editor.edited_folder import EditedFolder
from lorapipe.tag_editor.picture_scan import PictureScan
from lorapipe.tag_editor.thumbnails import LARGE, SMALL, thumbnail

STATIC = Path(__file__).parent / "static"
SHARED = Path(__file__).parents[1] / "page" / "static"
"""The queue's page, of which the editor uses files, too."""
MOST_SENT = 64_000_000
"""Most bytes that are posted: the captions of 100,000 pictures."""
MOST_EDITS = 20
Json = dict[str, object]
_EDIT: type[Edit] = Edit  # type: ignore[type-abstract]


class EditorRoutes:
    """All routes of a folder's editor."""

    most_sent = MOST_SENT

    def __init__(self, folder: EditedFolder, scan: PictureScan, settings: TagSettings) -> None:
        self._folder = folder
        self._scan = scan
        self._settings = settings
        self._tagged = tagger_captions(settings.tagged, folder.pictures) if settings.tagged else None
        own = [*STATIC.iterdir(), SHARED / "elements.js", SHARED / "icon.svg"]
        self._static = {file.name: file for file in own if file.suffix in OURS}
        self._posts: dict[str, Callable[[Json], object]] = {
            "edits": self._edited, "analysis": self._analysed, "captions": self._captions, "save": self._saved
        }  # fmt: skip

    def get(self, path: str, seen: str = "") -> Answer:
        """Answer a GET request."""
        match path.split("/"):
            case ["dataset"]:
                return told(self._dataset())
            case ["pictures"]:
                return self._pictures(seen)
            case ["thumbs", number]:
                return Answer(thumbnail(self._folder.root, self._picture(number), SMALL), PICTURE)
            case ["thumbs", number, _]:
                return Answer(thumbnail(self._folder.root, self._picture(number), SMALL), PICTURE, lasting=True)
            case ["views", number]:
                return Answer(thumbnail(self._folder.root, self._picture(number), LARGE), PICTURE)
            case ["similar", number]:
                places = {name: place for place, name in enumerate(self._folder.pictures)}
                return told([places[name] for name in self._scan.similar(self._picture(number))])
            case [name] if (file := self._static.get(name or "editor.html")) is not None:
                return Answer(file.read_bytes(), OURS[file.suffix], tag=tag_of(file.stat().st_mtime_ns))
        return NOT_THERE

    def post(self, path: str, sent: bytes = b"") -> Answer:
        """Answer a POST request. Raises `InputError` if it cannot be done."""
        if path not in self._posts:
            return NOT_THERE
        try:
            data = json.loads(sent)
        except (ValueError, RecursionError):
            raise InputError("what was sent is not JSON.") from None
        if not isinstance(data, dict) or data.get("folder") != self._folder.mark:
            raise InputError(
                "another folder is edited here now. Close this page, and open the address that was printed."
            )
        return told(self._posts[path](data))

    # --------------------------------------------------------------------------------------------------------- answers

    def _dataset(self) -> Json:
        folder, settings, root = self._folder, self._settings, os.path.join(self._folder.root, "")  # noqa: PTH118 (thousands)
        return {
            "folder": folder.mark,
            "name": str(folder.root),
            "writable": folder.is_writable,
            "trigger": settings.trigger,
            "max_tokens": settings.max_tokens,
            "pictures": [[name, folder.file_of[name], _time(root + name)] for name in folder.pictures],
            "captions": {file: vars(each) for file, each in folder.captions().items()},
        }

    def _pictures(self, seen: str) -> Answer:
        self._scan.start()
        now, names = self._scan.now, self._folder.pictures
        tag = tag_of(len(now.signatures), len(now.facts), now.ready)
        if tag == seen:
            return Answer(b"", status=304, tag=tag)
        sizes = [found.size if (found := now.facts.get(name)) else None for name in names]
        buckets = [self._scan.bucket(name) for name in names]
        places = {name: place for place, name in enumerate(names)}
        copies = {places[copy]: places[other] for copy, other in now.copies.items()}
        looked = len(now.signatures)
        return told(
            {"ready": now.ready, "looked": looked, "sizes": sizes, "buckets": buckets, "copies": copies}, tag=tag
        )

    def _edited(self, data: Json) -> Json:
        edits = data.get("edits")
        if not isinstance(edits, list) or len(edits) > MOST_EDITS or not all(isinstance(each, dict) for each in edits):
            raise InputError(f"edits are a list of at most {MOST_EDITS}.")
        if any("file" in each for each in edits):
            raise InputError("lists of tags in files are for pipelines; write the tags here.")
        captions = _texts(data.get("captions"))
        after, reports = apply_edits(captions, [from_dict(_EDIT, each, self._folder.root) for each in edits])
        changed = {file: text for file, text in after.items() if text != captions[file]}
        return {"captions": changed, "reports": [report.plain() for report in reports]}

    def _analysed(self, data: Json) -> Json:
        texts, settings = _texts(data.get("captions")), self._settings
        captions = {name: texts.get(file, "").replace("\n", ", ") for name, file in self._folder.file_of.items()}
        word = data.get("trigger")
        found = analyse(
            captions,
            trigger=" ".join(word.split()) if isinstance(word, str) else settings.trigger,
            max_tokens=settings.max_tokens,
            separator=settings.separator,
            signatures=self._scan.now.signatures,
            tagged=self._tagged,
        )
        return found.as_data()

    def _captions(self, data: Json) -> Json:
        files = data.get("files")
        if not isinstance(files, list):
            raise InputError("files are a list.")
        for file in files:
            self._folder.path_of(str(file))
        return {file: vars(each) for file, each in self._folder.read([*map(str, files)]).items()}

    def _saved(self, data: Json) -> Json:
        texts, versions = _texts(data.get("captions")), _texts(data.get("versions"))
        wanted = {file: WantedCaption(text, versions.get(file, "")) for file, text in texts.items()}
        keep, overwrite = bool(data.get("keep_encoding")), bool(data.get("overwrite"))
        result = save(self._folder, wanted, keep_encoding=keep, overwrite=overwrite)
        return asdict(result)

    def _picture(self, number: str) -> str:
        place = int(number) if number.isascii() and number.isdigit() and len(number) < 9 else -1
        if not 0 <= place < len(self._folder.pictures):
            raise InputError("there is no such picture.")
        return self._folder.pictures[place]


def _texts(value: object) -> dict[str, str]:
    """Return a mapping of texts that was posted. Raises `InputError` if it is none."""
    if not isinstance(value, Mapping) or not all(isinstance(each, str) for each in value.values()):
        raise InputError("captions are a mapping of files to texts.")
    return cast("dict[str, str]", value)


def _time(path: str) -> int:
    """Return when a picture was changed, in ms, so that its thumbnail gets another address; 0 if it cannot be read."""
    try:
        return os.stat(path).st_mtime_ns // 1_000_000  # noqa: PTH116
    except OSError:
        return 0
