"""The pictures: a prepare stage for each folder that has settings of its own, with buckets, captions and augmentation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lorapipe.config_import import picture_sets
from lorapipe.config_import.mapping import TRAIN, Translation
from lorapipe.config_import.mapping.augmentation import augmentation
from lorapipe.config_import.mapping.buckets import buckets
from lorapipe.config_import.mapping.captions import VARYING, captioning, encodes_raw
from lorapipe.config_import.option_values import Options
from lorapipe.config_import.picture_sets import KohyaFolders
from lorapipe.config_import.user_paths import found, located

Captions = Mapping[str, tuple[object, str]]


@dataclass(frozen=True)
class PictureSet:
    """Pictures that become one stage."""

    images: str
    option: str
    """The option that names the folder."""
    view: Options
    is_regularisation: bool = False
    subfolder: str = ""
    repeats: int | None = None
    word: str | None = None
    exclude: tuple[str, ...] = ()
    folders: KohyaFolders | None = None


def translate(made: Translation) -> None:
    """Write the prepare stages, and name them in the training."""
    sets = _of_subsets(made) if made.configuration.subsets else _of_folders(made)
    if all(each.is_regularisation for each in sets):
        made.conflicts.append("no folder of pictures is named (train_data_dir): set vars.images")
        sets = [PictureSet("./pictures", "train_data_dir", made.options), *sets]
    kept = _with_one_regularisation(made, sets)
    frozen = not _trains_text(made)
    _say_cached(made, kept)
    captions = [captioning(made, each.view, frozen) for each in kept]
    shared = all(each == captions[0] for each in captions)
    names = [_stage_name(place, each) for place, each in enumerate(kept)]
    for name, each, own in zip(names, kept, captions, strict=True):
        _write(made, name, each, None if shared else own)
    for knob, (value, comment) in captions[0].items() if shared else ():
        made.draft.put(f"{TRAIN}.captions.{knob}", value, comment)
    _name_datasets(made, names)
    made.pictures = _counts(made, kept)


def _say_cached(made: Translation, sets: list[PictureSet]) -> None:
    """Say which options exclude cached text encoder outputs in the original."""
    varying = [name for name in VARYING if any(each.view.flag(name) or each.view.number(name) for each in sets)]
    if encodes_raw(made) and varying:
        made.conflicts.append(f"cache_text_encoder_outputs and {', '.join(varying)}: sd-scripts stops, since it caches one "
                              "encoding of a caption. Here captions.variants of each are cached, so both work")  # fmt: skip


def _stage_name(place: int, pictures: PictureSet) -> str:
    if pictures.is_regularisation:
        return "regularisation"
    return f"dataset{place + 1}" if place else "dataset"


def _with_one_regularisation(made: Translation, sets: list[PictureSet]) -> list[PictureSet]:
    """Return the sets, regularisation last, of which one alone is offered."""
    regularisation = [each for each in sets if each.is_regularisation]
    for each in regularisation[1:]:
        each.view.settle(each.option, "refused", "one folder of regularisation pictures is offered: put them together")
    if len(regularisation) > 1:
        made.differences.append("there are several folders of regularisation pictures; only the first is used")
    return [*(each for each in sets if not each.is_regularisation), *regularisation[:1]]


def _trains_text(made: Translation) -> bool:
    rate = made.draft.get(f"{TRAIN}.text_encoder_lr")
    return not (isinstance(rate, (int, float)) and rate == 0)


def _name_datasets(made: Translation, names: list[str]) -> None:
    put = made.draft.put
    training = [name for name in names if name != "regularisation"]
    put(f"{TRAIN}.dataset", f"${training[0]}")
    if training[1:]:
        put(f"{TRAIN}.more_datasets", [f"${name}" for name in training[1:]])
    weight = made.options.number("prior_loss_weight", 1.0)
    if "regularisation" in names:
        put(f"{TRAIN}.regularisation", "$regularisation")
        made.use("prior_loss_weight", "prior_loss_weight", weight)
    else:
        made.idle("prior_loss_weight", "there are no regularisation pictures")


def _of_subsets(made: Translation) -> list[PictureSet]:
    """Return the pictures of a dataset's file; the folders of the command line are ignored beside one."""
    for name in ("train_data_dir", "reg_data_dir"):
        made.idle(name, "dataset_config is given, beside which sd-scripts ignores it")
    sets = []
    for view in made.views:
        is_regularisation = view.flag("is_reg")
        view.settle("is_reg", "used" if is_regularisation else "no effect",
                    "regularisation" if is_regularisation else "is off")  # fmt: skip
        images = view.text("image_dir")
        if view.given("metadata_file"):
            view.settle("metadata_file", "refused", "captions are read from files beside the pictures")
        if images:
            repeats, word = max(1, view.whole("num_repeats", 1)), view.text("class_tokens")
            sets.append(PictureSet(images, "image_dir", view, is_regularisation, repeats=repeats, word=word))
    return sets


def _of_folders(made: Translation) -> list[PictureSet]:
    """Return the pictures of `train_data_dir` and `reg_data_dir`."""
    sets = []
    for name, is_regularisation in (("train_data_dir", False), ("reg_data_dir", True)):
        images = made.options.text(name)
        if not images:
            continue
        path = found(images, made.folder)
        folders = picture_sets.read(path) if path else None
        if folders is None or (folders.is_as_here and folders.used):
            exclude = folders.skipped if folders else ()
            sets.append(PictureSet(images, name, made.options, is_regularisation, exclude=exclude, folders=folders))
        elif folders.used:
            sets += [PictureSet(images, name, made.options, is_regularisation, folder.name, folder.repeats, folder.word)
                     for folder in folders.used]  # fmt: skip
        elif not is_regularisation:
            sets.append(_without_kohyas_names(made, images, name, folders))
        else:
            made.idle(name, "there is no folder like 10_name in it: sd-scripts uses no regularisation pictures")
        _remark(made, name, folders)
    return sets


def _without_kohyas_names(made: Translation, images: str, name: str, folders: KohyaFolders) -> PictureSet:
    what = f"{name} has no folder like 10_name" + (
        f", but {folders.loose} pictures of its own" if folders.loose else ""
    )
    made.conflicts.append(
        f"{what}: sd-scripts finds no pictures in it, and ends; here every picture below it is used once"
    )
    return PictureSet(images, name, made.options)


def _remark(made: Translation, name: str, folders: KohyaFolders | None) -> None:
    if folders is None or not folders.used:
        return
    if folders.skipped:
        some = ", ".join(folders.skipped[:5])
        made.differences.append(
            f"sd-scripts does not read {some} of {name} (no number of repeats in the name); left out here too"
        )
    if folders.loose:
        made.differences.append(
            f"{folders.loose} pictures lie in {name} itself, which sd-scripts does not read; here they are used"
        )


# -------------------------------------------------------------------------------------------------------- a stage each


def _write(made: Translation, name: str, pictures: PictureSet, captions: Captions | None) -> None:
    """Write a prepare stage."""
    view, put = pictures.view, made.draft.put
    images = f"{pictures.images}/{pictures.subfolder}" if pictures.subfolder else pictures.images
    path, remark = located(images, made.folder, made.target)
    kind = "regularisation" if pictures.is_regularisation else "images"
    variable = made.draft.variable(kind, path, f"{view.mark(pictures.option)}{remark}")
    put(f"{name}.uses", "prepare")
    put(f"{name}.images", variable)
    view.settle(pictures.option, "used", f"{name}.images: {path}{remark}")
    if pictures.exclude:
        put(f"{name}.exclude", list(pictures.exclude), "folders that sd-scripts does not read")
    put(f"{name}.base", dict(made.base))
    buckets(made, name, view)
    _caption_files(made, name, pictures)
    put(f"{name}.held_out", 0.0, made.usual)
    _held_out(made, name, pictures)
    put(f"{name}.min_size", 1, "sd-scripts leaves out no small pictures")
    put(f"{name}.duplicate_tolerance", 0, "… and no copies")
    augmentation(made, name, view)
    _masks(made, name, view)
    if captions is not None:
        for knob, (value, comment) in captions.items():
            put(f"{name}.captions.{knob}", value, comment)
        if not captions:
            put(f"{name}.captions", {}, "none of its own")


def _caption_files(made: Translation, name: str, pictures: PictureSet) -> None:
    view, put = pictures.view, made.draft.put
    ending = view.text("caption_extension", ".caption")
    put(f"{name}.caption_extensions", [f".{ending.lstrip('.')}"], view.mark("caption_extension", usual=made.usual))
    view.settle("caption_extension", "used", f"{name}.caption_extensions: [.{ending.lstrip('.')}]")
    lines = (
        "each"
        if view.flag("enable_wildcard") and not encodes_raw(made)
        else str(made.options.implied.get("caption_lines", "first"))
    )
    put(f"{name}.caption_lines", lines, "as in the original")
    word = pictures.word if pictures.word is not None else view.text("class_tokens")
    if word:
        put(f"{name}.class_word", word, view.mark("class_tokens", usual=f"the folder {pictures.subfolder}"))
        view.settle("class_tokens", "used", f"{name}.class_word: {word[:60]}")
    repeats = pictures.repeats or view.whole("dataset_repeats")
    if repeats and repeats > 1:
        put(
            f"{name}.repeats",
            repeats,
            view.mark("num_repeats", "dataset_repeats", usual=f"the folder {pictures.subfolder}"),
        )
    view.settle("num_repeats", "used", f"{name}.repeats: {repeats}")
    if pictures.repeats:
        view.settle("dataset_repeats", "no effect", "the folders say how often their pictures are used")
    else:
        view.settle("dataset_repeats", "used", f"{name}.repeats: {repeats}")


def _held_out(made: Translation, name: str, pictures: PictureSet) -> None:
    share = pictures.view.number("validation_split") or 0.0
    if share and not pictures.is_regularisation:
        made.draft.put(f"{name}.held_out", min(share, 0.5), pictures.view.mark("validation_split"))
        pictures.view.settle("validation_split", "used", f"{name}.held_out: {min(share, 0.5):g}")
        made.differences.append("pictures are held out by their content here, by chance in the original")
    else:
        pictures.view.settle("validation_split", "no effect", "0 is off")


def _masks(made: Translation, name: str, view: Options) -> None:
    masked = view.flag("masked_loss") or view.flag("alpha_mask")
    if folder := view.text("conditioning_data_dir"):
        path, remark = located(folder, made.folder, made.target)
        if view.flag("masked_loss"):
            made.draft.put(f"{name}.masks", path, view.mark("conditioning_data_dir"))
            view.settle("conditioning_data_dir", "used", f"{name}.masks: {path}{remark}")
            view.settle("masked_loss", "used", f"{name}.masks")
            view.settle("alpha_mask", "no effect", "conditioning_data_dir counts")
            return
        view.settle("conditioning_data_dir", "no effect", "masked_loss is off")
    if view.flag("alpha_mask"):
        made.draft.put(f"{name}.alpha_mask", True, view.mark("alpha_mask"))
        view.settle("alpha_mask", "used", f"{name}.alpha_mask: true")
        view.settle("masked_loss", "translated", f"{name}.alpha_mask")
    else:
        view.settle("alpha_mask", "no effect", "is off")
        view.settle("masked_loss", "no effect", "there are no masks: neither alpha_mask nor conditioning_data_dir"
                    if masked else "is off")  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- counting


def _counts(made: Translation, sets: list[PictureSet]) -> list[tuple[str, int | None, int]]:
    """Return of each folder of training pictures its name, its number of pictures, and its repeats."""
    counts: list[tuple[str, int | None, int]] = []
    for each in sets:
        if each.is_regularisation:
            continue
        path = found(each.images, made.folder)
        if each.folders is not None:
            counts += [(folder.name, folder.count, folder.repeats) for folder in each.folders.used]
        else:
            inner = path / each.subfolder if path else None
            count = picture_sets.pictures_in(inner) if inner else None
            name = each.subfolder or re.split(r"[\\/]", each.images.rstrip("\\/"))[-1]
            counts.append((name, count, each.repeats or 1))
    return counts
