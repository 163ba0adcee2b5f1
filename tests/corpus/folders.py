"""Folders as network drives, trainers and photo apps leave them: paths of wanted pictures and of other files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

LEFT_BEHIND = (
    "@eaDir/a.png/SYNOPHOTO_THUMB_XL.jpg", "sub/@eaDir/b.png/SYNOPHOTO_THUMB_M.jpg", "#recycle/old.png",
    "#snapshot/day/a.png", "@Recycle/old.png", "@Recently-Snapshot/GMT/a.png", "$RECYCLE.BIN/S-1-5/$R1.png",
    "System Volume Information/a.png", "lost+found/a.png", ".Trash-1000/files/a.png", ".Trashes/501/a.png",
    ".stfolder/a.png", ".stversions/a~1.png", ".thumbnails/normal/a.png", ".sync/Archive/a.png",
    ".dropbox.cache/a.png", "__MACOSX/._a.png", "._a.png", ".@__thumb/a.jpg", "FOUND.000/FILE0001.jpg",
    "Network Trash Folder/a.png", "RECYCLER/S-1/a.png", "_latent_cache/a.png", "_controls/a.depth.jpg",
    "Catalog Previews.lrdata/a.jpg", "Photos.photoslibrary/resources/a.jpg",
    "#SynoRecycle/old.png", "#Recycle Bin/old.png", "@__thumb/a.jpg", "FOUND.012/FILE0001.jpg", "Picasa Originals/a.jpg",
    "a.png@SynoEAStream", "sub/cover@SynoResource", "OneDriveTemp/a.png",
)  # fmt: skip
"""Files that users do not mean when they name the folder, one of each kind."""
SYSTEM_FILES = ("Thumbs.db", "ehthumbs.db", "desktop.ini", ".DS_Store", "Icon\r", "Picasa.ini")
SOMEBODYS = (
    "@artist/a.png", "#holiday/a.png", "model/a.png", "sample/a.png", "samples/b.png", "log/a.jpg",
    "output/a.png", "reg.png", "img/a.png", "masked ball/a.png", "girl.png", "girl_mask.png", "$ave/a.png",
    "lost/a.png", "photo_000123.png", "IMG_20240101_120000.jpg", "10_penny/a.png", "2024_01_02_03.png",
    "control/c.png", "found.me/a.png",
)  # fmt: skip
"""Pictures of users whose names look similar."""

PROJECTS: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "kohya_ss": (
        ("img/10_penny woman/a.png", "img/10_penny woman/b.png", "img/5_hat/c.png"),
        {
            "reg/1_woman/r.png": "regularisation",
            "model/sample/penny_e000000_00_20240101000000.png": "beside a project's img",
            "model/cover.png": "beside a project's img",
            "log/plot.png": "beside a project's img",
        },
    ),
    "kohya_ss, a folder deeper, in capitals": (
        ("Penny/IMG/10_penny/a.png",),
        {"Penny/REG/1_woman/r.png": "regularisation", "Penny/Model/sample/x.png": "beside a project's img"},
    ),
    "sd-scripts' samples among pictures": (
        ("a.png", "b.png"),
        {
            "sample/penny_000500_01_20240203040506.png": "trainer's sample",
            "sample/penny_e000002_00_20240203040506_42.png": "trainer's sample",
            "penny_e000001_00_20240203040506.png": "trainer's sample",
        },
    ),
    "ai-toolkit": (
        ("photos/a.png", "photos/b.png"),
        {
            "output/penny/samples/1713000000000__000000500_0.jpg": "trainer's sample",
            "output/penny/samples/1713000000000__000000500_1.jpg": "trainer's sample",
        },
    ),
    "OneTrainer": (
        ("a.png",),
        {"workspace/run/samples/0 - a cat/2024-01-01_12-00-00-training-sample-100-1-0.jpg": "trainer's sample"},
    ),
    "SimpleTuner": (
        ("a.png",),
        {
            "out/validation_images/step_100_penny_512x512.png": "trainer's sample",
            "out/validation_images/step_200_penny_512x512.png": "trainer's sample",
        },
    ),
    "weights with samples and a preview": (
        ("a.png",),
        {"loras/samples/whatever.png": "trainer's sample", "loras/penny.preview.png": "trainer's sample"},
    ),
    "regularisation beside subjects": (
        ("10_penny/a.png",),
        {"reg/1_woman/r.png": "regularisation", "regularization/2_woman/r.png": "regularisation"},
    ),
    "what lorapipe made": (
        ("a.png", "grid.png"),
        {
            "outputs/penny/grid.png": "made by lorapipe",
            "outputs/penny/snapshots/one.png": "made by lorapipe",
            "sets/dataset/contact_sheet.jpg": "made by lorapipe",
        },
    ),
    "OneTrainer's masks": (
        ("a.png", "b.jpg"),
        {"a-masklabel.png": "mask", "b-masklabel.png": "mask", "b-condlabel.png": "conditioning picture"},
    ),
    "masks by another name": (
        ("1.png", "2.png", "3.png"),
        {"1_mask.png": "mask", "2_mask.png": "mask", "3_mask.png": "mask"},
    ),
    "a folder of masks": (("a.png", "b.png"), {"masks/a.png": "mask", "masks/b.png": "mask"}),
    "folders of conditioning pictures": (
        ("a.png", "b.png"),
        {
            "conditioning_images/a.png": "conditioning picture",
            "conditioning_images/b.png": "conditioning picture",
            "control/a.png": "conditioning picture",
        },
    ),
}
"""Wanted pictures, and other files with their kind, which depends on the files in `COMPANIONS`."""
COMPANIONS: Mapping[str, tuple[str, ...]] = {
    "kohya_ss": ("model/penny.safetensors", "log/20240101/events.out.tfevents.1"),
    "ai-toolkit": ("output/penny/penny_000000500.safetensors", "output/penny/config.yaml"),
    "weights with samples and a preview": ("loras/penny.safetensors",),
    "what lorapipe made": (
        "outputs/penny/report.html", "sets/dataset/manifest.json", "sets/dataset/left_out.json",
    ),
}  # fmt: skip


def lay(root: Path, files: Iterable[str], content: bytes = b"x") -> Path:
    """Write files with the same content below a folder, and return the folder."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root
