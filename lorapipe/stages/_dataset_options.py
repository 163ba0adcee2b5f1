"""The options of a dataset: the knobs of the `prepare` stage, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lorapipe.captioning.edits import Edit
from lorapipe.models import Family
from lorapipe.picture_files.captions import Lines
from lorapipe.spec import Source, Spec, param
from lorapipe.stages._caption_folder import CaptionFolder
from lorapipe.stages._picture_folder import PictureFolder
from lorapipe.training.caption_augment import Captioning
from lorapipe.training.data.augment import Augmentation
from lorapipe.training.data.buckets import Buckets, Resolution
from lorapipe.training.data.images import WHITE, Colour

if TYPE_CHECKING:
    from lorapipe.training.data.filter import Rules
    from lorapipe.training.data.image_folder import ImageFolder


@dataclass(frozen=True)
class DatasetOptions(Spec):
    """Which pictures are read, with which captions and masks, and how they become a dataset."""

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
        (), "names of subfolders to skip, such as reg for pictures that another stage prepares", rare=True
    )
    min_pictures: int = param(
        1,
        "least number of usable pictures; with fewer the stage fails. 10 is few for a training",
        ge=1,
    )
    resolution: Resolution | None = param(
        None, "training size in pixels: 512, or 512x768 (width x height); by default the base's native size"
    )
    enable_bucket: bool = param(
        True,
        "keep each picture's shape by sorting them into buckets of about equal area; false crops all to resolution",
    )
    min_bucket_reso: int | None = param(
        None,
        "shortest side of a bucket in pixels, rounded down to the step; by default half the resolution",
        ge=16,
        rare=True,
    )
    max_bucket_reso: int | None = param(
        None,
        "longest side of a bucket in pixels, rounded up to the step; by default twice the resolution",
        ge=16,
        rare=True,
    )
    bucket_reso_steps: int | None = param(
        None,
        "bucket sides are multiples of this; by default the smallest that the base allows (64 for SD1.x)",
        ge=8,
        rare=True,
    )
    bucket_no_upscale: bool = param(
        False,
        "never enlarge: small pictures get small buckets of their own; min and max_bucket_reso have no effect then",
        rare=True,
    )
    caption_extensions: tuple[str, ...] = param(
        (".txt", ".caption"),
        "endings of caption files beside the pictures; the first file that exists is used",
        min_items=1,
        kohya=("caption_extension", "caption_extention"),
        rare=True,
    )
    caption_lines: Lines = param(
        "joined",
        "how a caption file with several lines is read: as one caption (joined), only the first line (first, as "
        "kohya does), or one caption per line, of which each showing uses one (each)",
        rare=True,
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
    background: Colour = param(
        WHITE, "the colour behind transparent pictures: '#rrggbb', white, grey or black", rare=True
    )
    min_size: int | None = param(
        None,
        "leave out pictures whose shorter side is below this, in pixels; by default a quarter of the resolution",
        ge=1,
        rare=True,
    )
    duplicate_tolerance: int = param(
        10,
        "largest difference, in levels of 255, between the 16x16 thumbnails of two pictures of which one is left out as a "
        "copy. Pictures that differ in one place, or whose captions differ, are both kept; 0 leaves out only files that "
        "are equal byte for byte",
        ge=0,
        le=64,
        rare=True,
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
        False, "use the pictures' transparency as masks: the loss counts only where they are opaque", rare=True
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

    @property
    def folders(self) -> tuple[PictureFolder, ...]:
        """All folders of pictures, the first one first; a reference in place of one that is still to be made."""
        return (self.images, *self.more_images)

    @property
    def known_folders(self) -> tuple[Path, ...]:
        """The folders that are there already."""
        return tuple(each.path for each in self.folders if isinstance(each, Source))

    @property
    def is_pending(self) -> bool:
        """Whether another stage still has to make a folder, so that nothing is known of its pictures yet."""
        return len(self.known_folders) < len(self.folders)

    @property
    def folder(self) -> ImageFolder:
        """The first folder of pictures."""
        return self.folder_at(self.images.path)

    def folder_at(self, root: Path) -> ImageFolder:
        """Return a folder of pictures as it is to be read."""
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
