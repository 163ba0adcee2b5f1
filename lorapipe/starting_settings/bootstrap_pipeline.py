"""The pipeline that grows a character from one picture (guide §9), from the template `bootstrap_pipeline.yaml`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorapipe.atomic import write_text
from lorapipe.captioning.tags import tags_of
from lorapipe.errors import InputError
from lorapipe.pipeline.yaml_text import flow
from lorapipe.starting_settings.drafts import literal
from lorapipe.training.data.captions import CaptionFiles
from lorapipe.training.data.image_folder import look_through
from lorapipe.training.data.image_reader import Unreadable
from lorapipe.training.data.images import header_size

TEMPLATE = Path(__file__).with_suffix(".yaml")
SCENES = (
    ("portrait, smile", "full body, standing", "walking in a park", "sitting at a table", "from the side"),
    ("in the snow, at night", "on a beach, sunny day", "indoors, portrait", "running"),
    ("in a forest", "close-up, surprised", "in a city street", "lying on grass", "from behind"),
    ("in a garden, smile", "at a window, evening", "on a mountain, full body", "portrait, angry"),
)
"""What is painted in each round and in the evaluation, with the trigger word before it."""
POCKET_SCENES = (
    (
        "meadow, smile",
        "beach, big eyes",
        "cream background, smile",
        "forest, big eyes, party hat",
        "snow, frown",
        "lavender background, closed eyes",
    ),
    ("night sky, smile", "room, big eyes", "cream background, frown, top hat", "beach, closed eyes"),
    (
        "meadow, big eyes",
        "snow, smile, crown",
        "lavender background, open mouth",
        "forest, small eyes",
        "night sky, frown, bow",
    ),
    (
        "meadow, frown, bow",
        "room, smile, crown",
        "night sky, big eyes, top hat",
        "beach, open mouth",
        "lavender background, smile, party hat",
    ),
)
"""The same in the tags of the pocket base's world."""
USUAL: Mapping[str, str] = {
    "small": "{type: lora, rank: 16}",
    "large": "{type: lora, rank: 32}",
    "unet_lr": "1e-4",
    "text_encoder_lr": "5e-5",
    "cfg": "6                      # 5 to 7: higher burns the colours, and a training learns that",
    "batch": "2",
    "repeats": "60",
    "painted": "4",
    "style": "",
    "styles": "[]                  # style LoRAs of the base, such as {file: ink.safetensors, strength: 0.5}",
}
POCKET: Mapping[str, str] = {
    "small": "{type: locon, rank: 8}",
    "large": "{type: locon, rank: 16}",
    "unet_lr": "2e-3               # the small pocket base needs twenty times SD1.5's learning rate",
    "text_encoder_lr": "5e-4",
    "cfg": "2                      # 5 to 7 with Stable Diffusion; the pocket base burns above 2",
    "batch": "4",
    "repeats": "80",
    "painted": "8",
    "style": "",
    "styles": "[]",
}
EXAMPLE_STYLE = """\
  style-pictures:
    uses: prepare
    images: examples/neon
    base: {family: sd15, checkpoint: "${checkpoint}"}

  style:                        # any style LoRA of the base will do: {file: ink.safetensors, strength: 0.5}
    uses: train
    dataset: $style-pictures
    adapter: {type: locon, rank: 8}
    unet_lr: 2e-3
    text_encoder_lr: 0
    batch: 4
    steps: 200
    snapshots: 1

"""
EXAMPLE_STYLES = "[{file: $style, strength: 0.15}, {file: $style, strength: 0.3}]"
"""How the example, `pipelines/bootstrap.yaml`, varies the style: with a LoRA that it trains for that."""


@dataclass(frozen=True)
class OnePicture:
    """A picture to begin with, its caption (empty where it has none) and its trigger word."""

    path: Path
    caption: str
    trigger: str


def one_picture(path: Path, trigger: str) -> OnePicture:
    """Look at a picture and its caption file. `InputError` if it is no picture that can be read.

    Without a `trigger` it is the caption's first tag, or the file's name.
    """
    if path.is_dir():
        raise InputError("is a folder.", where=str(path), cure="Name one picture in it.")
    try:
        header_size(path)
    except Unreadable as error:
        raise InputError(f"{error}.", where=str(path), cure="Name a picture.") from None
    found = look_through(path.absolute().parent)
    caption = CaptionFiles(path.absolute().parent, found.captions).of(path.name, "").text
    tags = tags_of(caption)
    return OnePicture(path, caption, trigger or (tags[0] if tags else path.stem))


def copy_picture(picture: OnePicture, folder: Path) -> None:
    """Copy the picture into a folder of its own, with its caption beside it; without one, the trigger word alone.

    `InputError` if other files are there.
    """
    names = {picture.path.name, f"{picture.path.stem}.txt"}
    if folder.exists() and (not folder.is_dir() or {each.name for each in folder.iterdir()} - names):
        raise InputError("has other files already.", where=str(folder), cure="Write the pipeline into another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / picture.path.name).exists():
        shutil.copyfile(picture.path, folder / picture.path.name)
    caption = folder / f"{picture.path.stem}.txt"
    if not caption.exists():
        write_text(f"{picture.caption or picture.trigger}\n", caption)


def text(folder: str, family: str, checkpoint: str, trigger: str, to: str) -> str:
    """Return the pipeline. `checkpoint` is a path or `pocket`; paths are as they are written."""
    is_pocket = checkpoint == "pocket"
    return _filled(
        {
            **(POCKET if is_pocket else USUAL),
            **_prompts(POCKET_SCENES if is_pocket else SCENES, literal(trigger)),
            "note": "",
            "picture": f"{flow(literal(folder))}   # a folder with one picture, and its caption in a file beside it",
            "checkpoint": flow(checkpoint),
            "family": family,
            "to": flow(literal(to)),
        }
    )


def example() -> str:
    """Return `pipelines/bootstrap.yaml`: Penny, with another example's style."""
    return "# yaml-language-server: $schema=../schemas/pipeline.schema.json\n#\n" + _filled(
        {
            **POCKET,
            **_prompts(POCKET_SCENES, "penny"),
            "note": ", for the example; about ten minutes on a quiet computer",
            "picture": "examples/one-penny   # a folder with one picture, and its caption in a file beside it",
            "checkpoint": "pocket",
            "family": "sd15",
            "style": EXAMPLE_STYLE,
            "styles": EXAMPLE_STYLES,
            "to": "../outputs/penny-from-one.safetensors",
        }
    )


def _prompts(rounds: Sequence[Sequence[str]], trigger: str) -> dict[str, str]:
    return {
        f"prompts-{number}": "".join(f"\n      - {flow(f'{trigger}, {scene}')}" for scene in scenes)
        for number, scenes in enumerate(rounds, start=1)
    }


def _filled(values: Mapping[str, str]) -> str:
    """Return the template with its places filled in; no line ends in spaces."""
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())
