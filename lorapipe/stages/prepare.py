"""The `prepare` stage: turns a folder of pictures into a dataset that is ready to train on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lorapipe.captioning.edits import Edit
from lorapipe.errors import InputError, Problem
from lorapipe.models import Family
from lorapipe.picture_files.captions import Lines
from lorapipe.pipeline.artifacts import Artifact, Dataset
from lorapipe.pipeline.context import Context
from lorapipe.pipeline.references import needs
from lorapipe.spec import Ref, Source, param, to_dict
from lorapipe.stages import Stage
from lorapipe.stages._caption_folder import CaptionFolder
from lorapipe.stages._picture_folder import PictureFolder, copy_into_one
from lorapipe.training.caption_augment import Captioning
from lorapipe.training.data.augment import Augmentation
from lorapipe.training.data.buckets import Buckets, Resolution
from lorapipe.training.data.images import WHITE, Colour

if TYPE_CHECKING:
    from lorapipe.picture_files import Contents
    from lorapipe.stages._folder_facts import FolderFacts
    from lorapipe.training.data.captions import Caption
    from lorapipe.training.data.filter import Rules
    from lorapipe.training.data.forecast import Forecast
    from lorapipe.training.data.image_folder import ImageFolder


@dataclass(frozen=True)
class Prepare(Stage):
    """Read a folder of pictures, sort them into buckets, encode them, and draw a contact sheet of the training set."""

    version: ClassVar[int] = 3
    needs_device: ClassVar[bool] = True
    makes: ClassVar[type[Artifact]] = Dataset

    images: PictureFolder = param(
        help="the folder of pictures, read with all its subfolders: png, jpg, webp, avif, heic, tif, bmp, gif "
        "(first frame) and others. Nothing in it is changed. A subfolder named like kohya's, 10_penny cat, gives repeats "
        "(10) and, to pictures without a caption file, their caption (penny cat). Or several in a list, also those that a "
        "synthesize stage makes: [./penny, $grown]",
        shelf="pictures",
        kohya=("train_data_dir", "image_dir"),
        rest="more_images",
    )
    more_images: tuple[PictureFolder, ...] = param(
        (),
        "further folders, prepared together with the first, as if they were its subfolders: what is written after the first "
        "in a list of images. Their pictures are copied into the result",
        shelf="pictures",
    )
    base: Family = param(help="the base model to train on; pictures are encoded with its VAE")
    exclude: tuple[str, ...] = param(
        (), "names of subfolders to skip, such as reg for pictures that another stage prepares"
    )
    min_pictures: int = param(
        1,
        "least number of usable pictures; with fewer the stage fails. 10 is few for a training",
        ge=1,
        content=False,
    )
    resolution: Resolution | None = param(
        None, "training size in pixels: 512, or 512x768 (width x height); by default the base's native size"
    )
    enable_bucket: bool = param(
        True,
        "keep each picture's shape by sorting them into buckets of about equal area; false crops all to resolution",
    )
    min_bucket_reso: int | None = param(
        None, "shortest side of a bucket in pixels, rounded down to the step; by default half the resolution", ge=16
    )
    max_bucket_reso: int | None = param(
        None, "longest side of a bucket in pixels, rounded up to the step; by default twice the resolution", ge=16
    )
    bucket_reso_steps: int | None = param(
        None, "bucket sides are multiples of this; by default the smallest that the base allows (64 for SD1.x)", ge=8
    )
    bucket_no_upscale: bool = param(
        False,
        "never enlarge: small pictures get small buckets of their own; min and max_bucket_reso have no effect then",
    )
    caption_extensions: tuple[str, ...] = param(
        (".txt", ".caption"),
        "endings of caption files beside the pictures; the first file that exists is used",
        min_items=1,
        kohya=("caption_extension", "caption_extention"),
    )
    caption_lines: Lines = param(
        "joined",
        "how a caption file with several lines is read: as one caption (joined), only the first line (first, as "
        "kohya does), or one caption per line, of which each showing uses one (each)",
    )
    class_word: str = param(
        "",
        "caption of pictures that have neither a caption file nor a folder named 10_class: a trigger word, a class",
        kohya=("class_tokens",),
    )
    repeats: int = param(
        1,
        "times that each picture is shown in an epoch, unless its folder's name gives them",
        ge=1,
        le=10_000,
        kohya=("num_repeats", "dataset_repeats"),
    )
    background: Colour = param(WHITE, "the colour behind transparent pictures: '#rrggbb', white, grey or black")
    min_size: int | None = param(
        None,
        "leave out pictures whose shorter side is below this, in pixels; by default a quarter of the resolution",
        ge=1,
    )
    duplicate_tolerance: int = param(
        10,
        "largest difference, in levels of 255, between the 16x16 thumbnails of two pictures of which one is left out as a "
        "copy. Pictures that differ in one place, or whose captions differ, are both kept; 0 leaves out only files that "
        "are equal byte for byte",
        ge=0,
        le=64,
    )
    held_out: float = param(
        0.1,
        "share of the pictures that is never trained on, so that evaluation can tell learning from memorising; if there "
        "are fewer than 10 pictures, none is held out",
        ge=0,
        le=0.5,
        kohya=("validation_split",),
    )

    captions: Captioning | None = param(
        None,
        "caption augmentation of these pictures, instead of the training's `captions`: a prefix of their own, or {} for "
        "none; for regularisation pictures, and for folders that differ",
    )
    augment: Augmentation = param(
        Augmentation,
        "variants of pictures: mirrored, in other colours, cropped elsewhere or around the face",
    )
    masks: Source | None = param(
        None,
        "a folder of masks, named like the pictures: the loss counts where they are white, not where they are black. "
        "Pictures without a mask count as a whole. If it is the folder of images itself, the masks are the files beside "
        "the pictures: cat-masklabel.png, cat_mask.png",
        shelf="pictures",
        kohya=("conditioning_data_dir", "masked_loss"),
    )
    alpha_mask: bool = param(
        False, "use the pictures' transparency as masks: the loss counts only where they are opaque"
    )
    captions_from: CaptionFolder | None = param(
        None,
        "the captions of a caption stage, as $tags, or a folder of caption files that are named like the pictures; by "
        "default the caption files beside the pictures",
    )
    caption_edits: tuple[Edit, ...] = param(
        (),
        "changes of the captions, in order: [{type: add_trigger, trigger: penny}, {type: remove, tags: [hat]}, dedupe]. "
        "The caption files stay as they are",
    )

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
        if self.masks and self.more_images:
            what = "masks are named like the pictures of one folder, and images are several."
            cure = "Give each folder a prepare stage, and train on all: more_datasets."
            yield Problem(what, cure=cure, path=("masks",))
        if self.captions_from and self.more_images:
            what = "captions are named like the pictures of one folder, and images are several."
            cure = "Give each folder a prepare stage, and train on all: more_datasets."
            yield Problem(what, cure=cure, path=("captions_from",))
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
                self._folder_at(root), self.rules, self.augment, self.base, context,
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
        several = [self._folder_at(folder) for folder in self.known_folders]
        root, contents = joined(several) if self.more_images else (self.images.path, self.folder.contents())
        captions = self._captions(root, contents)
        return FolderFacts(
            contents, self._forecast(root, contents), tuple(captions.values()), self.buckets().resolution
        )

    def captions_in(self, root: Path) -> Mapping[str, Caption]:
        """Return the caption of each picture in one of the folders; none while a caption stage has not run yet.

        Raises `InputError` or `OSError` if the folder cannot be read.
        """
        return self._captions(root, self._folder_at(root).contents())

    def _captions(self, root: Path, contents: Contents) -> Mapping[str, Caption]:
        if isinstance(self.captions_from, Ref):
            return {}
        found, _ = self._folder_at(root).caption_files(contents).of_all(contents.pictures, self.class_word)
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

    # ------------------------------------------------------------------------------------------------- derived values

    @property
    def folders(self) -> tuple[PictureFolder, ...]:
        """All folders of pictures, the first one first; a reference in place of one that is still to be made."""
        return (self.images, *self.more_images)

    @property
    def known_folders(self) -> tuple[Path, ...]:
        """Those that are there already."""
        return tuple(each.path for each in self.folders if isinstance(each, Source))

    @property
    def is_pending(self) -> bool:
        """Whether another stage still has to make a folder, so that nothing is known of its pictures yet."""
        return len(self.known_folders) < len(self.folders)

    @property
    def folder(self) -> ImageFolder:
        """The first folder of pictures."""
        return self._folder_at(self.images.path)

    def _folder_at(self, root: Path) -> ImageFolder:
        from lorapipe.training.data.image_folder import ImageFolder

        masks = self.masks.path if self.masks else None
        captions = self.captions_from.path if isinstance(self.captions_from, Source) else None
        return ImageFolder(
            root, self.exclude, self.caption_extensions, self.caption_lines, masks, captions, self.caption_edits
        )

    @property
    def rules(self) -> Rules:
        """The rules that select pictures for the dataset."""
        from lorapipe.training.data.filter import Rules

        buckets = self.buckets()
        return Rules(
            buckets=buckets,
            min_size=self.smallest(buckets),
            duplicate_tolerance=self.duplicate_tolerance,
            held_out=self.held_out,
            repeats=self.repeats,
            class_word=self.class_word,
            background=self.background,
        )

    def buckets(self) -> Buckets:
        """Return the buckets that pictures are sorted into."""
        native = self.base.native_size()
        size = self.resolution.size if self.resolution else (native, native)
        return Buckets(
            size,
            self.min_bucket_reso or min(size) // 2,
            self.max_bucket_reso or 2 * max(size),
            self.bucket_reso_steps or self.base.size_step(),
            self.enable_bucket,
            self.bucket_no_upscale,
        )

    def smallest(self, buckets: Buckets) -> int:
        """Return the least length of a picture's shorter side, in pixels."""
        return self.min_size or max(1, min(buckets.resolution) // 4)
