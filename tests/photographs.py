"""The pictures that users really have, made from the photographs in scikit-image's wheel, and a stand-in for a base."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import skimage
import torch
from PIL import Image

from lorapipe.models import PLAIN_READING, Checkpoint, Family, Model, Pair, TextReading
from lorapipe.spec import Source, param

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"


def photograph(name: str) -> Image.Image:
    """A photograph of the wheel, RGB: astronaut, coffee, chelsea, rocket, motorcycle_left …"""
    image = Image.open(next(PHOTOGRAPHS.glob(f"{name}.*g"))).convert("RGB")
    image.info.clear()  # some have a colour profile, which Pillow saves to PNG but not to JPEG
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """A picture as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def turned_by_exif(image: Image.Image, orientation: int) -> bytes:
    """A JPEG that lies on its side or head, with the EXIF tag that says how to hold it."""
    stored = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image.transpose(stored), "JPEG", quality=95, exif=exif)


def sixteen_bits(image: Image.Image) -> bytes:
    """A grey PNG of 16 bits a pixel."""
    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    return encoded(Image.fromarray(grey), "PNG")


def disc(image: Image.Image) -> Image.Image:
    """The middle of a picture, all around it transparent (over hidden black)."""
    y, x = np.ogrid[: image.height, : image.width]
    inside = (x - image.width / 2) ** 2 + (y - image.height / 2) ** 2 < (min(image.size) / 2.2) ** 2
    pixels = np.dstack([np.asarray(image) * inside[..., None], inside * 255]).astype(np.uint8)
    return Image.fromarray(pixels)


def animation(*frames: Image.Image) -> bytes:
    """An animated GIF."""
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)


def real_folder(root: Path) -> Path:
    """The folder of issue reports: everything in it was met in the wild. Returns `root`."""
    astronaut, coffee, chelsea, rocket = map(photograph, ("astronaut", "coffee", "chelsea", "rocket"))
    cycle, hubble, retina = map(photograph, ("motorcycle_left", "hubble_deep_field", "retina"))
    files: dict[str, bytes | str] = {
        "astronaut.png": encoded(astronaut, "PNG"),
        "astronaut.txt": "penny, 1girl, orange suit, smile\n",
        "Coffee.JPG": encoded(coffee, "JPEG", quality=92),
        "Coffee.caption": "a cup of coffee\non a table",
        "wide.webp": encoded(rocket.crop((0, 100, 640, 340)), "WEBP", quality=90),
        "tall.avif": encoded(cycle.crop((300, 0, 540, 480)), "AVIF", quality=80),
        "sub/deep/turned.jpg": turned_by_exif(chelsea, 6),
        "sub/deep/turned.txt": "a cat lying <|startoftext|> down <|endoftext|>",
        "print.jpg": encoded(hubble.crop((0, 0, 700, 500)).convert("CMYK"), "JPEG", quality=90),
        "print.txt": "penny, " + "stars, " * 570 + "end",
        "sixteen.png": sixteen_bits(photograph("moon")),
        "transparent.png": encoded(disc(coffee.crop((100, 0, 500, 400))), "PNG"),
        "moving.gif": animation(retina.crop((300, 300, 800, 800)), rocket.crop((0, 0, 500, 400)).resize((500, 500))),
        "grey.bmp": encoded(photograph("camera").convert("L"), "BMP"),
        "10_penny cat/한글 이름.png": encoded(chelsea.crop((60, 20, 420, 290)), "PNG"),
        "10_penny cat/🎉party.png": encoded(astronaut.crop((60, 0, 360, 500)).convert("P"), "PNG"),
        "10_penny cat/utf16.png": encoded(photograph("page").resize((573, 287)), "PNG"),
        "empty caption.png": encoded(photograph("coins"), "PNG"),
        "empty caption.txt": " \n",
        "broken/truncated.jpg": encoded(rocket, "JPEG", quality=95)[:20_000],
        "broken/truncated.png": encoded(rocket, "PNG")[:100_000],
        "broken/nothing.png": b"",
        "broken/notes.jpg": "these are my notes, not a picture\n",
        "broken/page.webp": "<!DOCTYPE html><html>404</html>",
        "broken/tiny.png": encoded(astronaut.resize((40, 40)), "PNG"),
        "again/copy of astronaut.png": encoded(astronaut, "PNG"),
        "again/astronaut smaller.jpg": encoded(astronaut.resize((400, 400)), "JPEG", quality=70),
        ".hidden.png": b"not to be looked at",
        "readme.md": "not a picture",
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    (root / "10_penny cat/utf16.txt").write_bytes("a page of a book, ｐenny".encode("utf-16"))
    return root


class Averages(torch.nn.Module):
    """A VAE that is honest and simple: a latent is the mean colour of 8×8 pixels, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor([0.5, 0.5, 0.5, 1.0]))


@dataclass
class AveragingModel:
    """As much of a model as preparing needs. Counts what it is asked, so that tests can tell work from reuse."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    text_encoders: tuple[str, ...] = ("text_encoder",)
    settings_folders: tuple[str, ...] = ("vae", "text_encoder", "tokenizer")
    trainable: tuple[str, ...] = ("unet", "text_encoder")
    vae: Averages = field(default_factory=Averages)
    text_encoder: torch.nn.Module = field(default_factory=lambda: torch.nn.Embedding.from_pretrained(torch.eye(256)))
    pictures: int = 0
    captions: list[str] = field(default_factory=list)

    def part(self, name: str) -> torch.nn.Module:
        return {"vae": self.vae, "text_encoder": self.text_encoder}[name]

    def release(self, *names: str) -> None:
        pass

    def encode_images(self, pixels: torch.Tensor) -> torch.Tensor:
        self.pictures += len(pixels)
        mean = torch.nn.functional.avg_pool2d(pixels, 8)
        latents = torch.cat([mean, mean.mean(1, keepdim=True)], dim=1)
        return latents * self.vae.scale.detach().view(1, 4, 1, 1)

    def encode_text(self, captions: Sequence[str], reading: TextReading = PLAIN_READING) -> Mapping[str, torch.Tensor]:
        self.captions += captions
        most = reading.max_tokens
        spelled = [torch.tensor(list(caption.encode()[:most].ljust(most))) for caption in captions]
        return {"hidden": self.text_encoder(torch.stack(spelled)) * reading.clip_skip * (1 + reading.weighted)}


@dataclass(frozen=True)
class AveragingBase(Family):
    """A base for pictures of 512 pixels whose model counts what it is asked."""

    vae: Source | None = param(None, "another VAE")

    model: ClassVar[AveragingModel]
    loads: ClassVar[int] = 0
    name = "averaging"
    base_model_version = "none"
    architecture = "none"
    denoiser = "unet"
    denoiser_title = "U-Net"
    text_encoders = ("text_encoder",)
    trainable = ("unet", "text_encoder")

    def latent_shape(self, size: Pair) -> tuple[int, int, int]:
        return 4, size[1] // 8, size[0] // 8

    def native_size(self) -> int:
        return 512

    def size_step(self) -> int:
        return 64

    def load(self, device: str, dtype: str = "fp32") -> Model:
        type(self).loads += 1
        return cast(Model, self.model)

    @classmethod
    def tiny(cls, folder: Path, seed: int = 0) -> AveragingBase:
        cls.model, cls.loads = AveragingModel(), 0
        (folder / "averaging.safetensors").write_bytes(b"weights")
        return cls(checkpoint=Checkpoint(folder / "averaging.safetensors"))
