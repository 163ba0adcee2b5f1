"""Every kind of picture file comes out as a person sees it."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from photographs import PHOTOGRAPHS, animation, disc, encoded, photograph, sixteen_bits, turned_by_exif
from PIL import Image, ImageCms

from lorapipe.training.data.buckets import Buckets, Fit
from lorapipe.training.data.image_reader import Unreadable, quiet
from lorapipe.training.data.images import Colour, decode, glance, resize, to_pixels, view


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean absolute difference in levels of 255; fails where the sizes differ."""
    assert a.size == b.size and a.mode == b.mode == "RGB"
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean())


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95}, 4),
        ("WEBP", {"quality": 90}, 4),
        ("AVIF", {"quality": 90}, 4),
        ("GIF", {}, 12),
    ],
)
def test_every_format_is_read(kind, options, tolerance):
    coffee = photograph("coffee")
    assert difference(decode(encoded(coffee, kind, **options)), coffee) <= tolerance


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"quality": 30, "optimize": True}])
@pytest.mark.parametrize("size", [(451, 300), (8, 8), (1, 3)])
def test_a_jpeg_has_the_pixels_that_its_decoder_gives(options, size):
    data = encoded(photograph("coffee").resize(size), "JPEG", **options)
    plain = Image.open(io.BytesIO(data))
    assert difference(decode(data), plain.convert("RGB")) == 0


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_holds_the_picture_upright(orientation):
    cat = photograph("chelsea")
    file = turned_by_exif(cat, orientation)
    assert difference(decode(file), cat) < 3
    size, small = glance(file, 64)
    assert size == cat.size and (small.width > small.height)


def test_exif_that_makes_no_sense_does_no_harm():
    cat = photograph("chelsea")
    file = encoded(cat, "JPEG", quality=95, exif=b"Exif\0\0MM\0*garbage and more of it")
    with quiet():
        assert difference(decode(file), cat) < 3


def test_sixteen_bits_are_scaled_not_clipped():
    moon = photograph("moon")
    assert difference(decode(sixteen_bits(moon)), moon) == 0


def test_a_sixteen_bit_colour_png():
    """Written by hand, as Pillow writes none: one row, values 0, 0x8000 and 0xffff."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    row = b"\0" + struct.pack(">9H", 0, 0x8000, 0xFFFF, 0xFFFF, 0, 0x8000, 0x8000, 0xFFFF, 0)
    header = struct.pack(">IIBBBBB", 3, 1, 16, 2, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    assert np.asarray(decode(file)).tolist() == [[[0, 128, 255], [255, 0, 128], [128, 255, 0]]]


def test_a_cmyk_jpeg_has_its_colours():
    coffee = photograph("coffee")
    assert difference(decode(encoded(coffee.convert("CMYK"), "JPEG", quality=95)), coffee) < 4


def test_grey_palette_and_one_bit_pictures():
    camera = photograph("camera").convert("L")
    assert difference(decode(encoded(camera, "PNG")), camera.convert("RGB")) == 0
    palette = photograph("coffee").convert("P", palette=Image.Palette.ADAPTIVE)
    assert difference(decode(encoded(palette, "PNG")), palette.convert("RGB")) == 0
    black = camera.convert("1")
    assert difference(decode(encoded(black, "PNG")), black.convert("RGB")) == 0


@pytest.mark.parametrize("background", ["white", "#ff0000"])
def test_transparency_shows_the_background_and_not_the_hidden_colour(background):
    colour = Colour.parse(background, Path())
    seen = decode(encoded(disc(photograph("coffee")), "PNG"), colour)
    assert seen.getpixel((0, 0)) == colour.rgb
    middle = (seen.width // 2, seen.height // 2)
    assert seen.getpixel(middle) == photograph("coffee").getpixel(middle)


def test_a_transparent_palette_entry_shows_the_background():
    palette = photograph("coffee").convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    corner = palette.getpixel((0, 0))
    assert decode(encoded(palette, "PNG", transparency=corner)).getpixel((0, 0)) == (255, 255, 255)


def test_the_first_frame_of_an_animation():
    red, blue = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
    assert decode(animation(red, blue)).getpixel((3, 3)) == (255, 0, 0)


def test_colours_are_read_by_the_profile_in_the_file():
    """A photograph in Adobe RGB, as cameras save on demand. Expected by the two standards' own formulas."""
    profile = Image.open(PHOTOGRAPHS / "rocket.jpg").info["icc_profile"]
    linear = (np.array([150, 100, 60]) / 255) ** (563 / 256)
    to_xyz = [[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]]
    srgb = [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
    light = np.array(srgb) @ np.array(to_xyz) @ linear
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    brown = Image.new("RGB", (8, 8), (150, 100, 60))
    for kind, options in (("PNG", {}), ("JPEG", {"quality": 100, "subsampling": 0})):
        seen = decode(encoded(brown, kind, icc_profile=profile, **options)).getpixel((4, 4))
        assert np.abs(np.array(seen) - expected).max() < 2.5 and seen[0] > 155


def test_a_profile_that_changes_nothing_or_is_broken_changes_nothing():
    brown = Image.new("RGB", (8, 8), (150, 100, 60))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"broken"):
        assert decode(encoded(brown, "PNG", icc_profile=profile)).getpixel((0, 0)) == (150, 100, 60)
    grey = encoded(brown.convert("L"), "PNG", icc_profile=srgb)  # a profile for another kind of picture
    assert decode(grey).getpixel((0, 0)) == brown.convert("L").convert("RGB").getpixel((0, 0))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"just some notes\n", "text"),
        ("메모입니다".encode() * 200, "text"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (bytes(range(256)) * 8, "not a picture"),
        (encoded(photograph("rocket"), "JPEG", quality=95)[:20_000], "breaks off"),
        (encoded(photograph("rocket"), "PNG")[:100_000], "breaks off"),
        (encoded(photograph("rocket"), "WEBP", lossless=True)[:50_000], "damaged"),
        (encoded(photograph("rocket"), "GIF")[:30_000], "breaks off"),
        (encoded(photograph("rocket"), "BMP")[:300_000], "breaks off"),
        (encoded(photograph("rocket"), "AVIF")[:9_000], "damaged"),
    ],
    ids=["empty", "text", "korean", "html", "heic", "bytes", "jpg", "png", "webp", "gif", "bmp", "avif"],
)
def test_what_is_no_whole_picture_is_told_by_both_ways_of_looking(data, reason):
    for look in (decode, lambda file: glance(file, 64)):
        with quiet(), pytest.raises(Unreadable, match=reason):
            look(data)


def test_a_decompression_bomb_is_not_unpacked():
    bomb = bytearray(encoded(Image.new("1", (8, 8)), "PNG"))
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bytes(bomb[12:29])))
    with quiet(), pytest.raises(Unreadable, match="megapixels"):
        glance(bytes(bomb), 64)


def test_a_glance_at_a_large_jpeg_is_small_and_faithful():
    retina = photograph("retina")
    size, small = glance(encoded(retina, "JPEG", quality=95), 128)
    assert size == retina.size and 128 <= small.width < 256
    assert difference(small, retina.resize(small.size, Image.Resampling.BOX)) < 3


def area_average(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Exact averages over the area of each new pixel, by integrals: what OpenCV's INTER_AREA computes."""
    array = np.asarray(image, dtype=float)
    for axis, length in ((1, size[0]), (0, size[1])):
        integral = np.insert(np.cumsum(array, axis), 0, 0, axis)
        edges = np.linspace(0, array.shape[axis], length + 1)
        below = np.minimum(edges.astype(int), array.shape[axis] - 1)
        part = np.expand_dims(edges - below, tuple(a for a in range(3) if a != axis))
        at_edges = integral.take(below, axis) * (1 - part) + integral.take(below + 1, axis) * part
        array = np.diff(at_edges, axis=axis) * length / array.shape[axis]
    return array


def decibels(seen: Image.Image, exact: np.ndarray) -> float:
    """How near a picture is to another one; 40 cannot be told apart."""
    return float(10 * np.log10(255**2 / ((np.asarray(seen, dtype=float) - exact) ** 2).mean()))


@pytest.mark.parametrize("factor", [1.1, 1.3, 1.5, 1.9, 2.3, 4])
@pytest.mark.parametrize("name", ["coffee", "astronaut", "motorcycle_left"])
def test_shrinking_averages_areas(name, factor):
    image = photograph(name)
    size = (round(image.width / factor), round(image.height / factor))
    assert decibels(resize(image, size), area_average(image, size)) > 42


@pytest.mark.parametrize("factor", [1.2, 1.6])
def test_a_processor_without_pytorchs_filters_gives_the_same_pixels(factor, monkeypatch):
    coffee = photograph("coffee")
    size = (round(coffee.width / factor), round(coffee.height / factor))
    usual = resize(coffee, size)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "DEFAULT")
    assert np.abs(np.asarray(resize(coffee, size), dtype=int) - np.asarray(usual, dtype=int)).max() <= 1


def seen_whole(file: bytes, resized: tuple[int, int]) -> Image.Image:
    return view(file, Fit(resized, resized, (0, 0)))


TRAITS = {
    "plain": {},
    "full colours": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restart marks": {"restart_marker_rows": 1},
    "a profile": {"icc_profile": Image.open(PHOTOGRAPHS / "rocket.jpg").info["icc_profile"]},
}


@pytest.mark.parametrize("factor", [2, 4, 6, 8, 6.5, 10.4])
@pytest.mark.parametrize("trait", TRAITS)
def test_a_large_jpeg_is_seen_as_if_it_were_decoded_in_full(trait, factor):
    """It need not be, see `jpeg.reduced`. Of these sides 2, 4 and 8 are divisors."""
    retina = photograph("retina").crop((100, 100, 1348, 1348))
    file = encoded(retina, "JPEG", quality=92, **TRAITS[trait])
    size = (round(retina.width / factor), round(retina.height / factor))
    assert decibels(seen_whole(file, size), area_average(decode(file), size)) > 50


@pytest.mark.parametrize("size", [(739, 496), (736, 495)])
def test_a_jpeg_whose_sides_do_not_divide_is_decoded_in_full(size):
    """The last row or column of a smaller one would stand for parts of pixels."""
    file = encoded(photograph("motorcycle_left").crop((0, 0, *size)), "JPEG", quality=92)
    smaller = (round(size[0] / 7), round(size[1] / 7))
    assert difference(seen_whole(file, smaller), resize(decode(file), smaller)) == 0


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_large_jpeg_that_lies_on_its_side(orientation):
    moto = photograph("motorcycle_left").crop((0, 0, 736, 496))
    file = turned_by_exif(moto, orientation)
    for size in ((184, 124), (98, 66), (368, 124)):  # of a factor for each side, too
        assert decibels(seen_whole(file, size), area_average(decode(file), size)) > 40


def test_a_phones_two_pictures_in_one_file_and_a_grey_one():
    coffee = photograph("coffee")
    two = encoded(coffee, "MPO", save_all=True, append_images=[photograph("chelsea")], quality=92)
    grey = encoded(coffee.convert("L"), "JPEG", quality=92)
    for file in (two, grey):
        assert decibels(seen_whole(file, (150, 100)), area_average(decode(file), (150, 100))) > 45


def test_inks_are_not_mixed():
    """Stripes of cyan and black: half of both inks would be half as light."""
    stripes = np.zeros((64, 64, 4), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 3] = 255
    file = encoded(Image.fromarray(stripes, "CMYK"), "JPEG", quality=95, subsampling=0)
    assert decibels(seen_whole(file, (32, 32)), area_average(decode(file), (32, 32))) > 50


@pytest.mark.parametrize("orientation", [3, 6])
def test_no_jpeg_is_decoded_smaller_than_it_is_wanted(orientation):
    """It would be enlarged then, and soft. The last size is only half of the sides where the file is not turned."""
    file = turned_by_exif(photograph("motorcycle_left").crop((0, 0, 736, 496)), orientation)
    for size in ((736, 496), (735, 248), (367, 496), (369, 248), (800, 124), (124, 368)):
        assert difference(seen_whole(file, size), resize(decode(file), size)) == 0


def test_a_large_jpeg_that_breaks_off_is_refused():
    file = encoded(photograph("retina"), "JPEG", quality=95)
    for length in (len(file) // 2, len(file) - 2_000):
        with pytest.raises(Unreadable, match="breaks off"):
            seen_whole(file[:length], (176, 176))


def test_enlarging_is_lanczos_if_either_side_grows():
    cat = photograph("chelsea")
    for size in ((600, 400), (600, 200)):
        assert difference(resize(cat, size), cat.resize(size, Image.Resampling.LANCZOS)) == 0


def test_the_view_is_the_middle_of_the_picture():
    """Three stripes; a square bucket keeps the middle one, and half a pixel goes to the right."""
    stripes = Image.new("RGB", (300, 100), "red")
    stripes.paste((0, 255, 0), (100, 0, 200, 100))
    fit = Buckets((128, 128), 64, 256, 64, enabled=False).fit(stripes.size)
    assert fit == Fit((128, 128), (384, 128), (128, 0))
    seen = view(encoded(stripes, "PNG"), fit)
    assert seen.size == (128, 128) and seen.getpixel((3, 64)) == (0, 255, 0) == seen.getpixel((124, 64))


def test_pixels_are_from_minus_one_to_one():
    image = Image.new("RGB", (2, 1), (0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0))
    pixels = to_pixels(image)
    assert pixels.shape == (1, 3, 1, 2)
    assert pixels[0, :, 0].T.tolist() == [[-1, -1, 1], [1, -1, -1]]


def test_colours_are_read_and_others_refused():
    assert Colour.parse(" White ", Path()).rgb == (255, 255, 255)
    assert Colour.parse("#10a0FF", Path()).plain() == "#10a0ff"
    for wrong in ("#fff", "blueish", 0, None):
        with pytest.raises(ValueError, match="rrggbb"):
            Colour.parse(wrong, Path())
