"""Kinds of files by suffix; for unknown suffixes the first bytes decide."""

from __future__ import annotations


def _words(text: str) -> list[str]:
    return text.split()


READ = frozenset(
    _words(
        ".png .apng .jpg .jpeg .jpe .jfif .jif .jfi .pjpeg .pjp .webp .bmp .dib .gif .avif .avifs .tif .tiff "
        ".heic .heif .hif .heics .heifs .jp2 .j2k .jpx .jpf .jpc .j2c .ppm .pgm .pbm .pnm .tga .icb .vda .vst "
        ".ico .cur .pcx .sgi .rgb .rgba .bw .qoi .dds"
    )
)
"""Suffixes of supported picture formats."""

RAW = "a raw photo; develop it to png or jpg"
LAYERED = "a painting program's file; export it as png or jpg"
VECTOR = "a vector drawing; export it as png"
OTHER_PICTURE = "not a kind of picture that is read; save it as png or jpg"
NOT_READ: dict[str, str] = {
    **dict.fromkeys(
        _words(
            ".dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .rw2 .raf .pef .srw .x3f .raw .rwl .kdc .dcr .erf "
            ".mef .mos .mrw .3fr .iiq .gpr"
        ),
        RAW,
    ),
    **dict.fromkeys(
        _words(".psd .psb .xcf .kra .clip .sai .sai2 .procreate .afphoto .ora .mdp .pdn .aseprite .cpt .pspimage"),
        LAYERED,
    ),
    **dict.fromkeys(_words(".svg .svgz .ai .eps .ps .wmf .emf .cdr"), VECTOR),
    **dict.fromkeys(
        _words(
            ".jxl .jxr .wdp .hdp .hdr .exr .bpg .flif .mic .fpx .icns .pfm .xbm .xpm .sun .ras .pcd .dcx .fli "
            ".flc .blp .fits .fit .msp .im"
        ),
        OTHER_PICTURE,
    ),
}
"""Suffix of an unsupported picture format → advice for the user."""

FILM = "film"
ARCHIVE = "archive"
TABLE = "captions in another form"
OTHER = "other"
NO_PICTURES: dict[str, str] = {
    **dict.fromkeys(_words(".mp4 .mov .avi .mkv .webm .m4v .wmv .flv .mpg .mpeg .3gp .mts .m2ts .ogv .asf"), FILM),
    **dict.fromkeys(_words(".zip .rar .7z .tar .gz .tgz .xz .bz2 .zst .cbz .cbr"), ARCHIVE),
    **dict.fromkeys(_words(".json .jsonl .ndjson .csv .tsv .parquet .arrow .xlsx"), TABLE),
    **dict.fromkeys(
        _words(
            ".txt .caption .md .rst .html .htm .rtf .doc .docx .odt .pdf .yaml .yml .toml .ini .cfg .conf .log "
            ".lock .py .ipynb .sh .bat .ps1 .cmd .exe .dll .url .lnk .db .sqlite .xml .xmp .aae .thm .lrcat "
            ".safetensors .ckpt .pt .pth .gguf .onnx .npz .npy .pkl .mp3 .wav .flac .m4a .ogg .aac .part "
            ".crdownload .partial .tmp .download .torrent .bak .info .ttf .srt .js .css .ps1 .tags .cap"
        ),
        OTHER,
    ),
}
"""Suffix of other known files → kind."""
WEIGHTS = frozenset(_words(".safetensors .ckpt .pt .pth .gguf"))


def suffix_of(name: str) -> str:
    """Return a name's suffix in lower case, with its dot; `.jpg` for `.jpg_large` and `.jpg!d`, which websites write."""
    _, dot, last = name.rpartition(".")
    found = f"{dot}{last.lower()}" if dot else ""
    if found in READ or found in NO_PICTURES or not found.isascii():
        return found
    for place, letter in enumerate(last):
        if place and letter in "_!:-~?@ ":
            shorter = f".{last[:place].lower()}"
            return shorter if shorter in READ else found
    return found


def is_picture(name: str) -> bool:
    """Return whether a file has a picture's suffix, supported or not: users are told of unsupported ones."""
    found = suffix_of(name)
    return found in READ or found in NOT_READ
