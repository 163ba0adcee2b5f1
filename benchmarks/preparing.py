"""Throughput of `prepare` compared with the bare minimum: decoding and resizing pictures, encoding latents.

    python benchmarks/preparing.py                                  # 500 pictures of 1024 px, to 512 px
    python benchmarks/preparing.py --pictures 100 --to 768

Pictures: how many our path turns into the encoder's input per CPU second (read, checksum, decode, EXIF, colours,
resize, crop, with threads as in `prepare`), compared with Pillow, and with OpenCV and simplejpeg where installed (other
decoders and an area filter), which do only the decoding and resizing. `small` variants let the decoder downscale as far
as possible. The deviation of each one's pixels from exact area averages is printed in decibels. Latents: a random SD1.5
VAE through `encode_latents`, with cache, compared with the bare VAE on the same pixels. Runs are interleaved; the
number of busy cores is printed too.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from lorapipe.training.data.buckets import Buckets
from lorapipe.training.data.cache import Cache
from lorapipe.training.data.images import WHITE, to_pixels
from lorapipe.training.data.latents import Scene, encode_latents, missing_latents, picture_view
from lorapipe.training.data.manifest import Picture
from lorapipe.training.data.prefetch import prefetched

THREADS = 2
FILES = 20
"""Number of different files."""
PIECE, ROUNDS = 25, 3
"""Each path takes a piece in turn, several rounds: on a busy machine only ratios within a piece are reliable."""


def photographs(folder: Path, side: int) -> None:
    """Write pictures with edges, gradients and grain, as JPEGs of quality 92."""
    y, x = np.mgrid[0:side, 0:side] / side
    for number in range(FILES):
        grain = np.random.default_rng(number).normal(0, 6, (side, side, 3))
        waves = [np.sin(9 * x * (number + 1) + 3 * y), np.cos(6 * y * (number + 2) - x), np.sin(30 * x * y)]
        pixels = np.stack(waves, -1) * 90 + 128 + grain
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=92)


def manifest_of(folder: Path, count: int, to: int) -> list[Picture]:
    """Return manifest entries of the pictures."""
    buckets = Buckets((to, to), to // 2, 2 * to, 64)
    found = []
    for number in range(count):
        path = folder / f"{number % FILES}.jpg"
        with Image.open(path) as image:
            size = image.size
        fit = buckets.fit(size)
        assert fit is not None
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append(
            Picture(path.name, digest, size, fit.bucket, fit.resized, fit.crop, 1, "", "none", latents=f"{number:064d}")
        )
    return found


def pillow(data: bytes, to: int) -> Any:
    """Decode and resize with Pillow."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.resize((to, to), Image.Resampling.HAMMING))


def area(image: Any, to: int) -> Any:
    """Resize with OpenCV's area filter."""
    import cv2

    return image if image.shape[:2] == (to, to) else cv2.resize(image, (to, to), interpolation=cv2.INTER_AREA)


def opencv(data: bytes, to: int) -> Any:
    """Decode and resize with OpenCV."""
    import cv2

    return area(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), to)


def opencv_small(data: bytes, to: int) -> Any:
    """Decode at 1/2, 1/4 or 1/8 and resize with OpenCV."""
    import cv2

    with Image.open(io.BytesIO(data)) as image:  # reads the head of the file, as the other decoders do by themselves
        factor = image.width // to
    smaller = {1: 0, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4}
    flag = smaller.get(1 << factor.bit_length() - 1, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    return area(cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_COLOR_RGB), to)


def simplejpeg(data: bytes, to: int) -> Any:
    """Decode with simplejpeg and resize with OpenCV."""
    import simplejpeg

    return area(simplejpeg.decode_jpeg(data, "RGB"), to)


def simplejpeg_small(data: bytes, to: int) -> Any:
    """Decode with simplejpeg at any number of eighths and resize with OpenCV."""
    import simplejpeg

    return area(simplejpeg.decode_jpeg(data, "RGB", min_height=to, min_width=to), to)


def tensor(array: Any) -> torch.Tensor:
    """Convert an array to the encoder's input, the fastest way."""
    planes = array.transpose(2, 0, 1).astype(np.float32, order="C")
    planes /= 127.5
    planes -= 1
    return torch.from_numpy(planes)[None]


def averages(file: Path, to: int) -> torch.Tensor:
    """Return the encoder's input by exact averages over the area of each new pixel."""
    pixels = np.asarray(Image.open(file)).astype(np.float32) / 127.5 - 1
    side = pixels.shape[0]
    ends, places = np.arange(to + 1)[:, None] * side / to, np.arange(side)
    shares = (np.minimum(ends[1:], places + 1) - np.maximum(ends[:-1], places)).clip(0) * to / side
    return torch.from_numpy(np.einsum("yi,ijc,xj->cyx", shares, pixels, shares, optimize=True)[None])


def seconds(work: Iterable[Any]) -> float:
    """Return the seconds that consuming `work` takes."""
    start = time.perf_counter()
    for _ in work:
        pass
    return time.perf_counter() - start


def rivals() -> dict[str, Callable[[bytes, int], Any]]:
    """Return the other paths from a file to pixels."""
    found: dict[str, Callable[[bytes, int], Any]] = {"pillow": pillow}
    if importlib.util.find_spec("cv2"):
        import cv2

        cv2.setNumThreads(1)
        found |= {"opencv": opencv, "opencv small": opencv_small}
        if importlib.util.find_spec("simplejpeg"):
            found |= {"simplejpeg": simplejpeg, "simplejpeg small": simplejpeg_small}
    return found


def pictures(folder: Path, count: int, to: int) -> None:
    """Compare the paths from file to pixels, on the same number of threads."""
    found = manifest_of(folder, count, to)

    def threaded(path: Callable[[bytes, int], Any]) -> Callable[[list[Picture]], Iterable[torch.Tensor]]:
        def run(chosen: list[Picture]) -> Iterable[torch.Tensor]:
            with ThreadPoolExecutor(THREADS) as pool:
                files = (folder / picture.path for picture in chosen)
                yield from pool.map(lambda file: tensor(path(file.read_bytes(), to)), files)

        return run

    def ours(chosen: list[Picture]) -> Iterable[torch.Tensor]:
        return prefetched(lambda picture: to_pixels(picture_view(folder, picture, WHITE)), chosen, threads=THREADS)

    ways = {"ours": ours} | {name: threaded(path) for name, path in rivals().items()}
    exact = [averages(folder / picture.path, to) for picture in found[:FILES]]
    error = {
        name: max(float((a - b).square().mean()) for a, b in zip(run(found[:FILES]), exact, strict=True))
        for name, run in ways.items()
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    wall = cpu = 0.0
    pieces = [found[start : start + PIECE] for start in range(0, count, PIECE)] * ROUNDS
    for turn, piece in enumerate(pieces):
        for name in sorted(ways, reverse=bool(turn % 2)):
            before = time.process_time()
            elapsed = seconds(ways[name](piece))
            taken = time.process_time() - before
            times[name].append(taken / len(piece))
            if name == "ours":
                wall, cpu = wall + elapsed, cpu + taken
    print(f"{count} pictures to {to} px, by CPU time; ours keeps {cpu / wall:.2f} cores busy with {THREADS} threads")
    for name, each in times.items():
        ratio = statistics.median(a / b for a, b in zip(times["ours"], each, strict=True))
        rate, decibels = 1 / statistics.median(each), 10 * np.log10(4 / max(error[name], 1e-9))
        print(f"  {name:16} {rate:6.1f} a second  ours / it {ratio:.2f}  {decibels:.0f} dB and more")


def latents(folder: Path, to: int, count: int) -> None:
    """Compare encoding with the bare VAE."""
    from diffusers import AutoencoderKL

    from lorapipe.models._stable_diffusion import VAE

    vae = AutoencoderKL(**VAE).eval().requires_grad_(False)

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        return vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor

    model: Any = SimpleNamespace(device=torch.device("cpu"), encode_images=encode)
    found = manifest_of(folder, count, to)
    pixels = [to_pixels(picture_view(folder, picture, WHITE)) for picture in found]
    ratios = []
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        encode(pixels[0])
        for turn in range(3):
            cache = Cache(Path(name) / str(turn))
            bare = seconds(encode(each) for each in pixels)
            ours = seconds(encode_latents(missing_latents(found, cache), Scene(folder, WHITE), model, cache))
            ratios.append(bare / ours)
    print(f"latents of {count} pictures of {to} px: {statistics.median(ratios):.3f} of the bare VAE's throughput")


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--side", type=int, default=1024, help="of the files, in pixels")
    parser.add_argument("--to", type=int, default=512, help="the training resolution, a multiple of 64")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        photographs(Path(name), options.side)
        pictures(Path(name), options.pictures, options.to)
        latents(Path(name), 256, 6)


if __name__ == "__main__":
    main()
