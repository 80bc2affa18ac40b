"""Which files are images, by their names and how they begin.

Nothing but the standard library is imported here: the workflow looks at folders too, and Snakemake
may lie in an environment of its own.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

# What Pillow reads only with the package pillow-heif: photographs as many telephones take them.
HEIF = (".heic", ".heif", ".hif")
# Only these decoders are tried, whatever a file's name says: among Pillow's others are some that
# run external programs (EPS through Ghostscript).
_ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jps", ".mpo"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
    "AVIF": (".avif", ".avifs"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TGA": (".tga",),
    "PCX": (".pcx",),
    "SGI": (".sgi", ".rgb", ".bw"),
    "PSD": (".psd",),
    "ICO": (".ico",),
}
FORMATS = tuple(_ENDINGS)
EXTENSIONS = frozenset((*chain.from_iterable(_ENDINGS.values()), *HEIF))
# Of what cameras write as they measured it, Pillow would open no more than the small preview.
RAW_EXTENSIONS = frozenset(
    f".{name}"
    for name in (
        *("dng", "nef", "nrw", "cr2", "cr3", "crw", "arw", "srf"),
        *("sr2", "raf", "orf", "rw2", "pef", "raw", "3fr", "x3f"),
    )
)
# How the files begin that most photographs are, whatever their names end in.
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")


def begins_as_image(path: Path | str) -> bool:
    """Whether a file begins as common kinds of images do, for names that do not tell."""
    try:
        with open(path, "rb") as file:
            start = file.read(12)
    except OSError:
        return False
    riff = start.startswith(b"RIFF") and start[8:] == b"WEBP"
    boxed = start[4:] in (b"ftypavif", b"ftypheic", b"ftypheix", b"ftypmif1")
    return start.startswith(_BEGINNINGS) or riff or boxed
