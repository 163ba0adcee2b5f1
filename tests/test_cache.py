"""The cache gives back what was put in, or nothing: never something else."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from corpus.disks import DAMAGES, flipped
from photographs import AveragingBase, AveragingModel

from lorapipe.errors import LorapipeError
from lorapipe.models import Checkpoint, TextReading
from lorapipe.spec import Source
from lorapipe.training.data.cache import Cache, Remembered, key_of
from lorapipe.training.data.encoders import encoder_digest
from lorapipe.training.data.text_cache import encode_captions, load_conditions

KEY = key_of("a", 1)


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def test_tensors_come_back_bit_for_bit(cache):
    tensors = {"a": torch.randn(4, 8, 8), "b": torch.randn(3, dtype=torch.float64).to(torch.bfloat16)}
    cache.keep_tensors("latents", KEY, tensors)
    found = cache.tensors("latents", KEY)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) and found[name].dtype == tensors[name].dtype for name in found)


def test_what_was_read_is_remembered_as_far_as_there_is_room(cache):
    """A training reads an entry once; the rest comes from the files, as ever."""
    keys = [key_of(number) for number in range(3)]
    for key in keys:
        cache.keep_tensors("latents", key, {"latents": torch.randn(4, 8, 8)})
    known = Remembered(cache.folder, limit=2 * 4 * 8 * 8 * 4)
    assert known.tensors("latents", key_of("none")) is None
    first = [known.tensors("latents", key)["latents"] for key in keys]
    for key in keys:
        cache.path("latents", key).unlink()
    for key, tensor in zip(keys[:2], first, strict=False):
        assert known.tensors("latents", key)["latents"] is tensor
    assert known.tensors("latents", keys[2]) is None


def test_the_same_tensors_make_the_same_file(cache, tmp_path):
    other = Cache(tmp_path / "other")
    for place in (cache, other):
        place.keep_tensors("latents", KEY, {"b": torch.ones(2), "a": torch.zeros(2)})
    assert cache.path("latents", KEY).read_bytes() == other.path("latents", KEY).read_bytes()


def test_no_damage_to_an_entry_is_overlooked(cache):
    """Neither to numbers, nor to their names and shapes, nor to a plain value."""
    chance = random.Random(0)
    cache.keep_tensors("latents", KEY, {"latents": torch.randn(4, 8, 8), "mask": torch.ones(8, 4)})
    cache.keep_record("glances", KEY, {"size": [640, 480], "signature": "QUJDREVGRw=="})
    for kind, read in (("latents", cache.tensors), ("glances", cache.record)):
        path = cache.path(kind, KEY)
        whole, value = path.read_bytes(), read(kind, KEY)
        assert value is not None
        for number in range(400):
            how = DAMAGES[number % len(DAMAGES)] if kind == "latents" else flipped
            path.write_bytes(how(whole, chance))
            found = read(kind, KEY)
            assert found is None or (kind == "latents" and _same(found, value)), how.__name__


def _same(one, other):
    """A bit of what is neither numbers nor names (a space in the header) may be another."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_entries_of_earlier_versions_are_read_on(cache):
    """Latents of a large dataset are hours of a GPU; their checksum was of the numbers alone."""
    from safetensors.torch import save

    tensors = {"latents": torch.randn(4, 8, 8)}
    data = save(tensors)
    body = data[8 + int.from_bytes(data[:8], "little") :]
    cache.path("latents", KEY).parent.mkdir(parents=True)
    cache.path("latents", KEY).write_bytes(save(tensors, metadata={"crc32": str(zlib.crc32(body))}))
    assert torch.equal(cache.tensors("latents", KEY)["latents"], tensors["latents"])


@pytest.mark.parametrize("damage", ["cut", "flip", "zeros", "empty", "text", "no checksum"])
def test_a_damaged_entry_is_no_entry(cache, damage):
    from safetensors.torch import save

    cache.keep_tensors("latents", KEY, {"latents": torch.randn(4, 8, 8)})
    path = cache.path("latents", KEY)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    replacement = {
        "cut": data[:-7],
        "flip": data,
        "zeros": bytes(len(data)),
        "empty": b"",
        "text": b"lorem ipsum dolor sit amet",
        "no checksum": save({"latents": torch.zeros(1)}),
    }[damage]
    path.write_bytes(replacement)
    assert cache.tensors("latents", KEY) is None
    cache.keep_tensors("latents", KEY, {"latents": torch.ones(1)})
    assert torch.equal(cache.tensors("latents", KEY)["latents"], torch.ones(1))


def test_a_damaged_record_is_no_record(cache):
    assert cache.record("glances", KEY) is None
    cache.keep_record("glances", KEY, {"size": [3, 4]})
    assert cache.record("glances", KEY) == {"size": [3, 4]}
    cache.path("glances", KEY).write_bytes(b'{"size": [3')
    assert cache.record("glances", KEY) is None


WRITER = """
import sys, torch
from lorapipe.spec import Source
from lorapipe.training.data.cache import Cache
cache = Cache(__import__("pathlib").Path(sys.argv[1]))
for turn in range(60):
    cache.keep_tensors("latents", "ab" * 32, {"latents": torch.full((4, 32, 32), float(turn % 3))})
    found = cache.tensors("latents", "ab" * 32)
    assert found is not None and found["latents"].unique().numel() == 1
"""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("make", [os.mkdir, getattr(os, "mkfifo", None), lambda path: path.symlink_to("/nowhere")])
def test_what_is_no_file_is_no_entry_and_makes_way(cache, make):
    path = cache.path("latents", KEY)
    path.parent.mkdir(parents=True)
    make(path)
    assert cache.tensors("latents", KEY) is None and cache.record("latents", KEY) is None
    cache.keep_tensors("latents", KEY, {"a": torch.ones(2)})
    assert cache.tensors("latents", KEY)["a"].tolist() == [1, 1]


def test_two_processes_may_write_and_read_the_same_entry(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert not list(tmp_path.rglob("*.part"))


# --------------------------------------------------------------------------------------------------------- encoders


@pytest.fixture
def base(tmp_path):
    return AveragingBase.tiny(tmp_path)


def digest(base: AveragingBase, cache: Cache, part: str = "vae", dtype: str = "fp32") -> str:
    return encoder_digest(base, [part], dtype, cache, lambda: base.load("cpu"))


def test_an_encoder_is_hashed_once_for_each_checkpoint(base, cache):
    first = digest(base, cache)
    assert digest(base, cache) == first and AveragingBase.loads == 1


def test_another_file_with_the_same_encoder_has_its_digest_and_other_weights_have_not(base, cache):
    first = digest(base, cache)
    base.checkpoint.path.write_bytes(b"weights of a merge")
    assert digest(base, cache) == first
    base.checkpoint.path.write_bytes(b"another vae altogether")
    base.model.vae.scale.data[2] += 1e-6
    assert digest(base, cache) != first and AveragingBase.loads == 3


def test_a_vae_of_its_own_that_is_replaced_is_noticed(tmp_path, base, cache):
    (tmp_path / "vae.safetensors").write_bytes(b"one")
    base = replace(base, vae=Source(tmp_path / "vae.safetensors"))
    first = digest(base, cache)
    (tmp_path / "vae.safetensors").write_bytes(b"another")
    base.model.vae.scale.data[0] *= 2
    assert digest(base, cache) != first


def test_a_folder_with_another_vocabulary_has_another_text_encoder(tmp_path, base, cache):
    base = replace(base, checkpoint=Checkpoint(tmp_path / "folder"))
    (tmp_path / "folder/tokenizer").mkdir(parents=True)
    digests = []
    for vocabulary in ("{}", '{"a": 1}'):
        (tmp_path / "folder/tokenizer/vocab.json").write_text(vocabulary)
        digests.append(digest(base, cache, "text_encoder"))
    assert digests[0] != digests[1]


# --------------------------------------------------------------------------------------------------------- captions


def test_only_new_captions_are_encoded_and_each_as_if_alone(cache):
    model = AveragingModel()
    assert model.text_encoders == ("text_encoder",)
    assert list(encode_captions(["a cat", "a dog", "a cat", ""], model, "e", cache)) == ["a cat", "a dog", ""]
    assert list(encode_captions(["a cat", "a bird"], model, "e", cache)) == ["a bird"]
    assert model.captions == ["a cat", "a dog", "", "a bird"]
    batch = load_conditions(["a bird", "a cat"], "e", cache)
    assert torch.equal(batch["hidden"], model.encode_text(["a bird", "a cat"])["hidden"])


@pytest.mark.parametrize("other", [TextReading(max_tokens=150), TextReading(clip_skip=2), TextReading(weighted=True)])
def test_other_settings_and_encoders_are_other_entries(cache, other):
    model = AveragingModel()
    list(encode_captions(["a cat"], model, "e", cache))
    assert list(encode_captions(["a cat"], model, "e", cache, other)) == ["a cat"]
    assert list(encode_captions(["a cat"], model, "f", cache)) == ["a cat"]
    found = load_conditions(["a cat"], "e", cache, other)["hidden"]
    assert torch.equal(found, model.encode_text(["a cat"], other)["hidden"])


def test_a_lost_entry_is_said_so(cache):
    with pytest.raises(LorapipeError, match=r"lost.*'a cat'.*run the same command again"):
        load_conditions(["a cat"], "e", cache)
