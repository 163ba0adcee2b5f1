"""What the base sees in pictures, small enough to be carried from another machine, and everything else packed beside it.

Features are rotated to their principal components and rounded to one grain, which costs them 6 % of their variance;
latents are rounded to 0.4 of their standard deviation. What is looked for in them is far larger.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorapipe.evaluation.features import Array, Seen

GRAIN, LATENT_GRAIN = 0.9, 0.4
"""What is rounded to, in standard deviations."""
LARGEST, FILES = 14 << 20, 4
"""Bytes of a packed file, about, and how many such files are written."""


def keep(file: Path, seen: Mapping[str, Seen], grams: bool) -> None:
    """Write what is seen in some groups of pictures, by their names; without Gram matrices unless these are asked for."""
    rows = [(name, len(each)) for name, each in seen.items()]

    def whole(field: str) -> NDArray[np.float32]:
        return np.stack([row for each in seen.values() for row in getattr(each, field)]).astype(np.float32)

    latents = whole("latents")
    latent_grain = LATENT_GRAIN * float(latents.std())
    arrays: dict[str, Any] = {
        "rows": np.array(json.dumps(rows)), "latents": _packed(latents / latent_grain),
        "latent_grain": np.array(latent_grain), "width": np.array(latents.shape[1]), "looks": whole("looks"),
    }  # fmt: skip
    for field in ("patches", "fine"):
        arrays |= {f"{field}.{name}": array for name, array in _turned(whole(field)).items()}
    if grams:
        arrays["grams"] = whole("grams").astype(np.float16)
    np.savez(file, **arrays)


def kept(file: Path) -> dict[str, Seen]:
    """What `keep` wrote. There are no pictures in it, and one number for each Gram matrix where none were kept."""
    with np.load(file) as stored:
        found = {name: stored[name] for name in stored.files}
    patches, fine = (_turned_back(found, field) for field in ("patches", "fine"))
    count = len(patches)
    latents = _unpacked(found["latents"], (count, int(found["width"]))) * np.float32(found["latent_grain"])
    grams = found["grams"].astype(np.float32) if "grams" in found else np.zeros((count, 1), np.float32)
    seen, start = {}, 0
    for name, size in json.loads(str(found["rows"])):
        part = slice(start, start + size)
        seen[name] = Seen(
            [None] * size, *(_rows(each[part]) for each in (latents, patches, fine, grams, found["looks"]))
        )  # type: ignore[arg-type, list-item]
        start += size
    return seen


def _turned(features: Array) -> dict[str, NDArray[Any]]:
    """Unit vectors (N, P, d), rotated to their principal components and rounded."""
    middle = features.mean(axis=(0, 1))
    flat = features.reshape(-1, features.shape[-1]) - middle
    _, ways = np.linalg.eigh(flat.T @ flat)
    turned = flat @ ways.astype(np.float16).astype(np.float32)
    grain = GRAIN * float(np.sqrt((turned**2).mean()))
    return {
        "shape": np.array(features.shape), "middle": middle, "ways": ways.astype(np.float16), "grain": np.array(grain),
        "packed": _packed(turned.T / grain),
    }  # fmt: skip


def _turned_back(found: Mapping[str, NDArray[Any]], field: str) -> Array:
    """What `_turned` was given, as nearly as it was kept."""
    part = {name: found[f"{field}.{name}"] for name in ("shape", "middle", "ways", "grain", "packed")}
    count, places, width = map(int, part["shape"])
    turned = _unpacked(part["packed"], (width, count * places)).T * np.float32(part["grain"])
    features = (turned @ part["ways"].astype(np.float32).T + part["middle"]).reshape(count, places, width)
    back: Array = features / np.linalg.norm(features, axis=-1, keepdims=True)
    return back


def _rows(array: Array) -> Sequence[Array]:
    return [*array.astype(np.float32)]


def _packed(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    levels = np.clip(np.round(values), -127, 127).astype(np.int8)
    return np.frombuffer(lzma.compress(levels.tobytes(), preset=4), np.uint8)


def _unpacked(packed: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.frombuffer(lzma.decompress(packed.tobytes()), np.int8).reshape(shape).astype(np.float32)


# ------------------------------------------------------------------------------------------------------ to be carried


def pack(out: Path, files: Mapping[str, Path]) -> None:
    """Write files, by the names that they shall have, to archives of `LARGEST` bytes in `out`; equal files once.

    What does not fit into `FILES` archives is left, the last files first.
    """
    out.mkdir(parents=True, exist_ok=True)
    index: dict[str, str] = {}
    number, written = 0, 0
    archive = zipfile.ZipFile(out / "judging-0.zip", "w")
    known = set[str]()
    for name, path in files.items():
        data = path.read_bytes()
        index[name] = hashlib.sha256(data).hexdigest()[:24]
        if index[name] in known:
            continue
        if written + len(data) > LARGEST:
            if number + 1 == FILES:
                print(f"no room for {name} and what follows")
                del index[name]
                break
            archive.close()
            number, written = number + 1, 0
            archive = zipfile.ZipFile(out / f"judging-{number}.zip", "w")
        archive.writestr(index[name], data)
        written += len(data) + 200
        known.add(index[name])
    archive.writestr("index.json", json.dumps(index), zipfile.ZIP_DEFLATED)
    archive.close()


def unpack(packed: Path, work: Path) -> None:
    """Write the files of all archives of a folder into `work`."""
    contents: dict[str, bytes] = {}
    for file in sorted(packed.glob("judging-*.zip")):
        with zipfile.ZipFile(file) as archive:
            contents |= {name: archive.read(name) for name in archive.namelist()}
    index: dict[str, str] = json.loads(contents["index.json"])
    for name, digest in index.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[digest])


def contents(work: Path, folders: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The files of these trainings that a judgement needs, and the truth's."""
    for path in sorted(work.glob("truth.*")):
        yield path.name, path
    for folder in folders:
        for pattern in (
            "seen.npz",
            "said.npz",
            "probes.json",
            "done",
            "prepare/manifest.json",
            "pictures/*",
            "shown/*",
        ):
            for path in sorted((work / folder).glob(pattern)):
                yield path.relative_to(work).as_posix(), path
