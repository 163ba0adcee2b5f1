"""The `caption` stage: captions of a folder's pictures, by a tagger, from their files, or both; and edits of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from lorapipe.captioning.edits import Edit
from lorapipe.captioning.taggers import Tagger
from lorapipe.errors import InputError, Problem
from lorapipe.picture_files.captions import Lines
from lorapipe.pipeline.artifacts import Artifact, Captions
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.events import Log
from lorapipe.spec import Source, param
from lorapipe.stages import Stage
from lorapipe.stages._picture_folder import PictureFolder

if TYPE_CHECKING:
    from lorapipe.training.data.image_folder import ImageFolder


@dataclass(frozen=True)
class Caption(Stage):
    """Caption a folder's pictures with a tagger, and edit captions. Nothing in the folder is changed."""

    menu_title: ClassVar[str] = "Caption pictures"
    search_words: ClassVar[tuple[str, ...]] = ("caption", "tagger", "auto tag", "interrogator")
    needs_device: ClassVar[bool] = True
    makes: ClassVar[type[Artifact]] = Captions

    images: PictureFolder = param(
        help="the folder of pictures, read with all its subfolders; `lorapipe caption apply` writes the captions into it",
        shelf="pictures",
    )
    exclude: tuple[str, ...] = param((), "names of subfolders to skip, such as reg", rare=True)
    tagger: Tagger | None = param(None, "the model that captions pictures; empty: the captions that there are, edited")
    existing: Literal["keep", "extend", "replace"] = param(
        "keep",
        "what becomes of captions that there are: keep them and tag only pictures without; extend them by the tagger's "
        "tags that they lack; or replace them",
    )
    caption_extensions: tuple[str, ...] = param(
        (".txt", ".caption"),
        "endings of caption files beside the pictures; the first file that exists is used",
        min_items=1,
        rare=True,
    )
    caption_lines: Lines = param(
        "joined",
        "how a caption file with several lines is read: joined to one caption, first, or each as its own",
        rare=True,
    )
    edits: tuple[Edit, ...] = param(
        (),
        "changes of all captions, in order: [{type: add_trigger, trigger: penny}, {type: remove, tags: [hat]}, dedupe]",
    )

    def problems(self) -> Iterator[Problem]:
        from lorapipe.training.data.image_folder import no_folder

        if isinstance(self.images, Source) and (problem := no_folder(self.images.path)):
            yield replace(problem, where="", path=("images",))
        if self.tagger is None and self.existing != "keep":
            what = f"{self.existing} needs a tagger."
            yield Problem(what, cure="Write tagger: {type: wd14, folder: …}, or existing: keep.", path=("existing",))
        if self.tagger is None and not self.edits:
            yield Problem("has neither a tagger nor edits.", cure="Write tagger: pocket, or edits: [dedupe].")

    @property
    def folder(self) -> ImageFolder:
        """The folder of pictures."""
        from lorapipe.training.data.image_folder import ImageFolder

        return ImageFolder(self.images.path, self.exclude, self.caption_extensions, self.caption_lines)

    def outlook(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        from lorapipe.errors import counted

        if not isinstance(self.images, Source):
            yield f"the pictures of {self.images.plain()} are still to be made"
            return
        found = self.folder.contents()
        count, written = len(found.pictures), len(found.captions)
        tagged = count if self.existing != "keep" else count - written
        by = f"; about {counted(tagged, 'picture')} to tag with {self.tagger.name}" if self.tagger else ""
        yield f"{counted(count, 'picture')}, {written} with a caption file{by}"

    def run(self, context: Context) -> Captions:
        from lorapipe.training.data import caption_build
        from lorapipe.training.data.image_reader import quiet

        if problems := [*self.problems()]:
            raise InputError(problems)
        with quiet():
            found = caption_build.build_captions(self.folder, self.tagger, self.existing, self.edits, context)
        for line in found.lines():
            context.emit(Log(text=line))
        found.save(context.out)
        return Captions(context.out / caption_build.FOLDER, context.out / caption_build.DATA, self.images.path)
