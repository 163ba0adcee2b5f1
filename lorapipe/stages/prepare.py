"""The `prepare` stage: turns a folder of pictures into a dataset that is ready to train on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lorapipe.errors import InputError, Problem
from lorapipe.pipeline.artifacts import Artifact, Dataset
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.references import needs
from lorapipe.spec import Ref, Source, to_dict
from lorapipe.stages import Stage
from lorapipe.stages._dataset_options import DatasetOptions
from lorapipe.stages._picture_folder import copy_into_one

if TYPE_CHECKING:
    from lorapipe.picture_files import Contents
    from lorapipe.stages._folder_facts import FolderFacts
    from lorapipe.training.data.captions import Caption
    from lorapipe.training.data.forecast import Forecast


@dataclass(frozen=True)
class Prepare(DatasetOptions, Stage):
    """Read a folder of pictures, sort them into buckets, encode them, and draw a contact sheet of the training set."""

    menu_title: ClassVar[str] = "Prepare dataset"
    search_words: ClassVar[tuple[str, ...]] = ("dataset", "load images", "image folder", "buckets", "latents")
    version: ClassVar[int] = 3
    needs_device: ClassVar[bool] = True
    makes: ClassVar[type[Artifact]] = Dataset

    def problems(self) -> Iterator[Problem]:
        yield from self._file_problems()
        yield from self._named_file_problems()
        try:
            buckets, needed = self.buckets(), self.base.size_step()
        except InputError as error:
            if not any(self.base.problems()):  # these are reported when the base is parsed
                yield from (problem.under("base", "checkpoint") for problem in error.problems)
            return
        if self.base.is_pending:  # checked again when the stage runs
            return
        yield from buckets.problems()
        yield from self._sizes_in_vain()
        if buckets.step % needed and not any(self.base.problems()):
            cure = f"This base needs multiples of {needed}."
            yield Problem(f"{buckets.step} does not fit the base.", cure=cure, path=("bucket_reso_steps",))

    def _file_problems(self) -> Iterator[Problem]:
        """Yield problems of the named folders and endings."""
        from lorapipe.training.data.image_folder import no_folder

        others = {"masks": self.masks, "captions_from": self.captions_from}
        named = [("images", folder) for folder in self.known_folders]
        named += [(name, source.path) for name, source in others.items() if isinstance(source, Source)]
        for name, folder in named:
            if problem := no_folder(folder):
                yield replace(problem, where="", path=(name,))
        for place, extension in enumerate(self.caption_extensions):
            if not extension.startswith(".") or len(extension) < 2:
                cure = f"Write '.{extension.lstrip('.') or 'txt'}'."
                yield Problem(f"{extension!r} is not a file ending.", cure=cure, path=("caption_extensions", place))

    def _named_file_problems(self) -> Iterator[Problem]:
        for name in ("masks", "captions_from"):
            if getattr(self, name) and self.more_images:
                what = (
                    f"{name.removesuffix('_from')} are named like the pictures of one folder, and images are several."
                )
                cure = "Give each folder a prepare stage, and train on all: more_datasets."
                yield Problem(what, cure=cure, path=(name,))
        if self.masks and self.alpha_mask:
            what = "masks and alpha_mask are both given."
            yield Problem(what, cure="Remove one of them.", path=("alpha_mask",))

    def problems_among(self, stages: Mapping[str, Stage]) -> Iterator[Problem]:
        """Yield a problem if a stage uses the dataset but the base has no vocabulary to read captions with."""
        missing = [*self.base.problems_of_captions()]
        if missing and any(stages.get(name) is self for stage in stages.values() for name in needs(stage)):
            yield from (replace(problem, where="", path=("base", "checkpoint")) for problem in missing)

    def _sizes_in_vain(self) -> Iterator[Problem]:
        """Yield bucket settings that have no effect: without buckets, or without their bounds."""
        bounds = [name for name in ("min_bucket_reso", "max_bucket_reso") if getattr(self, name) is not None]
        if not self.enable_bucket:
            steps = ["bucket_reso_steps"] if self.bucket_reso_steps is not None else []
            upscale = ["bucket_no_upscale"] if self.bucket_no_upscale else []
            for name in (*bounds, *steps, *upscale):
                cure = "Remove it, or enable_bucket: false."
                yield Problem(
                    "there are no buckets: all pictures are cropped to the resolution.", cure=cure, path=(name,)
                )
        elif self.bucket_no_upscale:
            for name in bounds:
                what = "with bucket_no_upscale pictures keep their size, and buckets have no bounds."
                yield Problem(what, cure="Remove one of the two.", path=(name,))

    def run(self, context: Context) -> Dataset:
        from lorapipe.training.data import build, contact_sheet, dataset_page
        from lorapipe.training.data.generated_pictures import marked
        from lorapipe.training.data.image_reader import quiet

        if problems := [*self.problems(), *(problem.under("base") for problem in self.base.problems())]:
            raise InputError(problems)
        root = self.images.path
        if self.more_images:
            root = context.out / "images"
            copy_into_one(self.known_folders, root, self.exclude)
        with quiet():
            manifest = build.build_dataset(
                self.folder_at(root), self.rules, self.augment, self.base, context,
                min_pictures=self.min_pictures, alpha_mask=self.alpha_mask,
            )  # fmt: skip
            manifest = replace(manifest, pictures=marked(manifest.pictures, root))
            if self.captions is not None:
                manifest = replace(manifest, captions=to_dict(self.captions))
            manifest.save(context.out / "manifest.json")
            manifest.save_left_out(context.out / "left_out.json")
            thumbnails = build.thumbnails(manifest, root)
            contact_sheet.save(manifest, thumbnails, context.out / "contact_sheet.jpg")
            dataset_page.save(manifest, thumbnails, context.out / "dataset.html")
        return Dataset(
            manifest=context.out / "manifest.json",
            base=self.base,
            images=root,
            contact_sheet=context.out / "contact_sheet.jpg",
            masks=self.masks.path if self.masks else None,
            page=context.out / "dataset.html",
        )

    @cached_property
    def folder_facts(self) -> FolderFacts:
        """What the folders tell before a run, as they were when this was asked first: names, captions and headers.

        Raises `InputError` or `OSError` if a folder cannot be read, or is still to be made by another stage.
        """
        from lorapipe.stages._folder_facts import FolderFacts
        from lorapipe.training.data.image_folder import joined

        if self.is_pending:
            raise InputError("another stage still has to make some of the pictures.", where="images")
        several = [self.folder_at(folder) for folder in self.known_folders]
        root, contents = joined(several) if self.more_images else (self.images.path, self.folder.contents())
        captions = self._captions(root, contents)
        return FolderFacts(
            contents, self._forecast(root, contents), tuple(captions.values()), self.buckets().resolution
        )

    def captions_in(self, root: Path) -> Mapping[str, Caption]:
        """Return the caption of each picture in one of the folders; none while a caption stage has not run yet.

        Raises `InputError` or `OSError` if the folder cannot be read.
        """
        return self._captions(root, self.folder_at(root).contents())

    def _captions(self, root: Path, contents: Contents) -> Mapping[str, Caption]:
        if isinstance(self.captions_from, Ref):
            return {}
        found, _ = self.folder_at(root).caption_files(contents).of_all(contents.pictures, self.class_word)
        return found

    def forecast(self) -> Forecast:
        """Forecast the dataset from the headers of the folder's files, read once: see `folder_facts`."""
        return self.folder_facts.forecast

    def _forecast(self, root: Path, found: Contents) -> Forecast:
        from lorapipe.training.data.forecast import of_folder

        buckets = self.buckets()
        least = self.smallest(buckets)
        size = self.base.native_size()
        numbers = math.prod(self.base.latent_shape((size, size))) / size**2
        return of_folder(root, found, buckets, least, self.repeats, self.held_out, self.augment, numbers)

    def outlook(self, stages: Mapping[str, Stage]) -> Iterator[str]:
        from lorapipe.training.data import messages

        if self.is_pending:
            made = " and ".join(each.plain() for each in self.folders if not isinstance(each, Source))
            known = f"{len(self.known_folders)} of {len(self.folders)} folders" if self.known_folders else "no folder"
            yield f"the pictures of {made} are still to be made; {known} of images can be looked at yet"
            return
        contents, found = self.folder_facts.contents, self.folder_facts.forecast
        if found.training:
            yield from self._showings(found)
        else:
            yield messages.no_pictures_message(found.left_out, len(contents.pictures), contents.left_out).rstrip(".")
        yield from messages.left_out(found.left_out if found.training else ())
        yield from (log.text for log in self.folder.unused_files(contents) if log.level == "warning")

    def _showings(self, found: Forecast) -> Iterator[str]:
        most = sorted(found.showings.items(), key=lambda pair: -pair[1])
        shown = ", ".join(f"{width}x{height} ×{count}" for (width, height), count in most[:4])
        more = f" and {len(most) - 4} more" if len(most) > 4 else ""
        pictures = "picture" if found.training == 1 else "pictures"
        yield f"about {found.training} {pictures} to train on, {found.held_out} held out; cache {found.cache / 1e6:.0f} MB"
        if most:
            yield f"buckets, with repeats: {shown}{more}"
