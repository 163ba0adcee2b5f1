"""Any picture that people have is read, whatever its name says, within a bounded memory; the rest is told in words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from corpus.pictures import bomb, chunk, icc, icon_of, profile_of, text, tiff, with_chunks
from photographs import encoded, photograph
from PIL import Image

from lorapipe.training.data.decode_memory import MemoryBudget
from lorapipe.training.data.image_reader import Unreadable, head_of, quiet, reading
from lorapipe.training.data.images import decode, glance, header_size

COFFEE = photograph("coffee").resize((300, 200))
GREY = COFFEE.convert("L").convert("RGB")
PNG = encoded(COFFEE, "PNG")


def difference(a: Image.Image, b: Image.Image) -> float:
    assert a.size == b.size and a.mode == b.mode == "RGB"
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean())


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "jpeg", "quality": 95}, 3),
        ("JPEG2000", {}, 0),
        ("PPM", {}, 0),
        ("TGA", {}, 0),
        ("TGA", {"compression": "tga_rle"}, 0),
        ("PCX", {}, 0),
        ("SGI", {}, 0),
        ("QOI", {}, 0),
        ("DDS", {}, 0),
    ],
)
def test_formats_that_few_people_have_are_read_by_all_ways_of_looking(kind, options, tolerance, tmp_path):
    data = encoded(COFFEE, kind, **options)
    assert difference(decode(data), COFFEE) <= tolerance
    assert glance(data, 64)[0] == COFFEE.size
    (tmp_path / "named.jpg").write_bytes(data)  # whatever its name says
    assert header_size(tmp_path / "named.jpg") == COFFEE.size


def test_an_icon_is_its_largest_picture():
    square = COFFEE.resize((256, 256))
    data = encoded(square, "ICO", sizes=[(16, 16), (256, 256), (64, 64)])
    assert difference(decode(data), square) == 0


def test_a_phones_heic_is_read_upright(tmp_path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = COFFEE.transpose(Image.Transpose.ROTATE_90)
    for data, size in (
        (encoded(COFFEE, "HEIF", quality=95), (300, 200)),
        (encoded(stored, "HEIF", exif=exif.tobytes()), (300, 200)),
    ):
        assert glance(data, 64)[0] == size and difference(decode(data), COFFEE) < 8


def test_without_its_package_a_heic_is_refused_with_the_cure(monkeypatch):
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(Unreadable, match=r'pip install "lorapipe\[heic\]"'):
        decode(data)


@pytest.mark.parametrize(
    ("mode", "like", "tolerance"),
    [("I;16", GREY, 0), ("F", GREY, 0.6), ("LAB", COFFEE, 2), ("CMYK", COFFEE, 0), ("1", None, 0), ("P", None, 0),
     ("RGBA", COFFEE, 0), ("YCbCr", COFFEE, 3)],
)  # fmt: skip
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_a_tiff_of_any_depth_and_colours_comes_out_right(mode, like, tolerance, compression):
    seen = decode(tiff(COFFEE, mode, compression=compression))
    assert difference(seen, like or COFFEE.convert(mode).convert("RGB")) <= tolerance


def test_a_tiffs_first_page_and_its_turn_count():
    cat = photograph("chelsea")
    pages = encoded(COFFEE, "TIFF", save_all=True, append_images=[cat])
    assert difference(decode(pages), COFFEE) == 0
    for turn, undo in (
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
    ):
        exif = Image.Exif()
        exif[0x0112] = turn
        data = encoded(COFFEE.transpose(undo), "TIFF", exif=exif)
        assert difference(decode(data), COFFEE) == 0 and glance(data, 64)[0] == COFFEE.size


def test_what_a_tiffs_numbers_mean_is_not_guessed():
    for data in (tiff(COFFEE, "I"), _floats(1000.0), _floats(float("nan"))):
        with pytest.raises(Unreadable, match=r"bits|between 0 and 1"):
            decode(data)


def _floats(most: float) -> bytes:
    pixels = np.asarray(GREY.convert("L")).astype(np.float32)
    pixels[0, 0] = most
    return encoded(Image.fromarray(pixels), "TIFF")


def test_white_on_black_is_no_negative():
    pixels = np.asarray(GREY.convert("L")).astype(np.uint16) * 257
    data = encoded(Image.fromarray(65535 - pixels), "TIFF", tiffinfo={262: 0})
    assert difference(decode(data), GREY) <= 1


# -------------------------------------------------------------------------------------------- what hangs on a picture


HANGING = {
    "a workflow of 3 MB, packed": [text(b"workflow", 3_000_000)],
    "a prompt of 2 MB in unicode, packed": [text(b"prompt", 2_000_000, b"iTXt")],
    "plain text of 3 MB": [text(b"notes", 3_000_000, b"tEXt")],
    "a thousand texts": [text(b"tag", 90_000, b"tEXt")] * 900,
    "a text of a gigabyte, packed": [text(b"bomb", 200_000_000, b"zTXt", b"\0" * 1000)],
    "a text that is damaged": [chunk(b"zTXt", b"a\0\0no zlib")],
    "a text with a wrong checksum": [text(b"a", 50, b"tEXt")[:-4] + b"\0\0\0\0"],
    "a history of 2 MB": [text(b"XML:com.adobe.xmp", 2_000_000, b"iTXt")],
    "a private chunk": [chunk(b"prVt", bytes(2_000_000))],
}


@pytest.mark.parametrize("what", HANGING)
@pytest.mark.parametrize("place", ["before", "behind"])
def test_what_hangs_on_a_png_is_no_reason_to_leave_it_out(what, place, tmp_path):
    data = with_chunks(PNG, **{place: HANGING[what]})
    assert difference(decode(data), COFFEE) == 0
    assert glance(data, 64)[0] == COFFEE.size
    (tmp_path / "a.png").write_bytes(data)
    assert header_size(tmp_path / "a.png") == COFFEE.size


def test_what_breaks_off_behind_the_picture_does_not_break_the_picture():
    for behind in (text(b"a", 5000, b"tEXt"), text(b"a", 5000), chunk(b"prVt", bytes(5000)), chunk(b"tIME", bytes(7))):
        whole = with_chunks(PNG, behind=[behind])
        for cut in (13, 20, 12 + len(behind) // 2):
            assert difference(decode(whole[:-cut]), COFFEE) == 0
    with pytest.raises(Unreadable, match="breaks off"):
        decode(PNG[:-500])


def test_a_large_colour_profile_is_obeyed_and_an_endless_one_ignored():
    brown = encoded(Image.new("RGB", (8, 8), (150, 100, 60)), "PNG")
    wide = profile_of(2_500_000)
    assert decode(with_chunks(brown, [icc(wide)])).getpixel((4, 4)) == pytest.approx((100, 150, 60), abs=2)
    assert decode(with_chunks(brown, [icc(bytes(40_000_000))])).getpixel((4, 4)) == (150, 100, 60)


def test_how_a_png_is_held_is_still_heard():
    exif = Image.Exif()
    exif[0x0112] = 6
    side = encoded(COFFEE.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    data = with_chunks(side, [text(b"workflow", 3_000_000)])
    assert difference(decode(data), COFFEE) == 0 and glance(data, 64)[0] == COFFEE.size


# ---------------------------------------------------------------------------------------------------------- closed doors


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(60), "PostScript"),
        (b"\xd7\xcd\xc6\x9a" + bytes(60), "metafile"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "OLE"),
        (b"8BPS\0\1" + bytes(60), "Photoshop"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60), "JPEG XL"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2mp41" + bytes(60), "film"),
        (b"PK\x03\x04" + bytes(60), "zip"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "vector"),
        (encoded(COFFEE, "PPM").replace(b"P6", b"PA"), "not a picture"),
    ],
)
def test_what_is_not_read_is_told_for_what_it_is_and_no_reader_sees_it(data, words):
    for look in (decode, lambda file: glance(file, 64)):
        with pytest.raises(Unreadable, match=words):
            look(data)


def test_a_file_is_only_read_where_it_is_one(tmp_path):
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "empty.png").write_bytes(b"")
    for name, words in (("gone.png", "leads nowhere"), ("empty.png", "empty"), ("", "it is a folder")):
        for look in (header_size, lambda path: reading(path).__enter__()):
            with pytest.raises(Unreadable, match=words):
                look(tmp_path / name)


# ---------------------------------------------------------------------------------------------------------------- memory


PROBE = """
import resource, sys, warnings
from pathlib import Path
import numpy, torch
from PIL import Image, ImageCms
from lorapipe.training.data.prefetch import prefetched
from lorapipe.training.data.buckets import Fit
from lorapipe.training.data.images import glance, view
from lorapipe.training.data.image_reader import Unreadable, reading
warnings.simplefilter("ignore")
FIT = Fit((512, 512), (512, 512), (0, 0))
WAYS = {"glance": lambda d: glance(d, 128)[0], "view": lambda d: view(d, FIT).size}
def look(path):
    try:
        with reading(Path(path)) as data:
            return WAYS[sys.argv[1]](data)
    except Unreadable as reason:
        return str(reason)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(*prefetched(look, sys.argv[2:], 4), sep=";")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def peak(way: str, *files: Path) -> tuple[list[str], float]:
    """What each file came to, four threads at once, and how many GB that took."""
    run = subprocess.run(
        [sys.executable, "-c", PROBE, way, *map(str, files)], capture_output=True, encoding="utf-8", check=True
    )
    said, size = run.stdout.splitlines()
    return said.split(";"), int(size) * 1024 / 1e9


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are counted in another unit elsewhere")
def test_pictures_of_a_gigabyte_are_decoded_within_the_budget(tmp_path):
    """Each alone took up to 2.7 GB, and four of them at once 4.9."""
    files = []
    for kind in ("palette", "RGBA", "16 bits"):
        files.append(tmp_path / f"{kind}.png")
        files[-1].write_bytes(bomb(9000, kind))
    said, size = peak("glance", *files)
    assert said == ["(9000, 9000)"] * len(files) and size < 1.25
    said, size = peak("view", *files)
    assert said == ["(512, 512)"] * len(files) and size < 1.25


def test_what_alone_would_take_more_than_the_budget_is_refused_in_words(tmp_path):
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "WEBP", lossless=True))
    side = 12_000 - 1
    data[21:25] = (side | side << 14).to_bytes(4, "little")
    with quiet(), pytest.raises(Unreadable, match=r"12000x12000 pixels would take 2\.\d GB to decode; make it smaller"):
        glance(bytes(data), 64)
    (tmp_path / "a.webp").write_bytes(data)
    with quiet(), pytest.raises(Unreadable, match="make it smaller"):
        header_size(tmp_path / "a.webp")  # so that a plan says it too
    with quiet(), pytest.raises(Unreadable, match="megapixels are too many"):
        glance(icon_of(bomb(5000, "RGBA")), 64)


def test_a_budget_lets_in_what_fits_and_never_waits_for_itself():
    from concurrent.futures import ThreadPoolExecutor
    from threading import Lock

    budget, lock, now, most = MemoryBudget(100), Lock(), [0], [0]

    def work(size: int) -> int:
        with budget.hold(size):
            with lock:
                now[0] += min(size, 100)
                most[0] = max(most[0], now[0])
            with budget.hold(90):  # what a thread has, it has
                pass
            with lock:
                now[0] -= min(size, 100)
        return size

    with ThreadPoolExecutor(8) as pool:
        sizes = [10, 60, 500, 30, 100, 1, 45, 99] * 20
        assert list(pool.map(work, sizes)) == sizes
    assert most[0] <= 100


def test_large_pictures_are_seen_as_if_they_were_converted_whole():
    """Strips, and averaging on the way, change nothing that anybody sees."""
    from lorapipe.training.data import images
    from lorapipe.training.data.buckets import Fit

    wide = photograph("retina").resize((2100, 1411))
    mask = Image.linear_gradient("L").resize(wide.size)
    wide.putalpha(mask)
    data = encoded(wide, "PNG", compress_level=1)
    fit = Fit((256, 172), (256, 172), (0, 0))
    usual = decode(data), images.view(data, fit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "STRIP", 100_000)
        assert difference(decode(data), usual[0]) == 0 and difference(images.view(data, fit), usual[1]) == 0
        patch.setattr(images, "LARGE", 1_000_000)
        assert difference(images.view(data, fit), usual[1]) < 0.6


def test_the_head_of_a_png_is_read_without_its_pixels(tmp_path):
    (tmp_path / "a.png").write_bytes(bomb(9000, "RGB")[:5000])  # they are not even there
    assert head_of(tmp_path / "a.png") == ((9000, 9000), 1)
