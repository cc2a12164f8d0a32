"""Identifies the image format of bytes by their beginning, never by name or claimed type.

An allow-list: a format that is not on it is no image. Nothing is decoded, so no file is too large
to be identified.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from atelier.errors import Unsupported
from atelier.imaging import signatures

HEAD_BYTES = (
    64 * 1024
)  # of a file that are read; comments before an SVG's root element may be long


class Format(NamedTuple):
    """An image format: its name, its media type, its file suffix."""

    name: str
    media_type: str
    extension: str

    @property
    def active(self) -> bool:
        """True if a browser that shows such a file may run scripts in it."""
        return self.name == "SVG"


JPEG = Format("JPEG", "image/jpeg", "jpg")
PNG = Format("PNG", "image/png", "png")
GIF = Format("GIF", "image/gif", "gif")
WEBP = Format("WEBP", "image/webp", "webp")
BMP = Format("BMP", "image/bmp", "bmp")
TIFF = Format("TIFF", "image/tiff", "tiff")
SVG = Format("SVG", "image/svg+xml", "svg")
HEIC = Format("HEIC", "image/heic", "heic")
HEIC_SEQUENCE = Format("HEIC", "image/heic-sequence", "heics")
HEIF = Format("HEIF", "image/heif", "heif")
HEIF_SEQUENCE = Format("HEIF", "image/heif-sequence", "heifs")
AVIF = Format("AVIF", "image/avif", "avif")
CR3 = Format("CR3", "image/x-canon-cr3", "cr3")
ICO = Format("ICO", "image/vnd.microsoft.icon", "ico")
CUR = Format("CUR", "image/x-win-bitmap", "cur")
JXL = Format("JPEG XL", "image/jxl", "jxl")
JP2 = Format("JPEG 2000", "image/jp2", "jp2")
JPX = Format("JPEG 2000", "image/jpx", "jpx")
JPM = Format("JPEG 2000", "image/jpm", "jpm")
JPH = Format("JPEG 2000", "image/jph", "jph")
J2C = Format("JPEG 2000", "image/j2c", "j2c")
JXR = Format("JPEG XR", "image/jxr", "jxr")
JLS = Format("JPEG-LS", "image/jls", "jls")
PSD = Format("PSD", "image/vnd.adobe.photoshop", "psd")
XCF = Format("XCF", "image/x-xcf", "xcf")
DDS = Format("DDS", "image/vnd-ms.dds", "dds")
KTX = Format("KTX", "image/ktx", "ktx")
KTX2 = Format("KTX", "image/ktx2", "ktx2")
EXR = Format("OpenEXR", "image/x-exr", "exr")
HDR = Format("HDR", "image/vnd.radiance", "hdr")
QOI = Format("QOI", "image/x-qoi", "qoi")
FITS = Format("FITS", "image/fits", "fits")
DPX = Format("DPX", "image/dpx", "dpx")
ICNS = Format("ICNS", "image/x-icns", "icns")
PCX = Format("PCX", "image/vnd.zbrush.pcx", "pcx")
SGI = Format("SGI", "image/sgi", "sgi")
SUN = Format("Sun raster", "image/x-sun-raster", "ras")
DJVU = Format("DjVu", "image/vnd.djvu", "djvu")
EMF = Format("EMF", "image/emf", "emf")
WMF = Format("WMF", "image/wmf", "wmf")
ILBM = Format("ILBM", "image/x-ilbm", "iff")
XPM = Format("XPM", "image/x-xpixmap", "xpm")
PBM = Format("PBM", "image/x-portable-bitmap", "pbm")
PGM = Format("PGM", "image/x-portable-graymap", "pgm")
PPM = Format("PPM", "image/x-portable-pixmap", "ppm")
PAM = Format("PAM", "image/x-portable-arbitrarymap", "pam")
PFM = Format("PFM", "image/x-portable-floatmap", "pfm")
TGA = Format("TGA", "image/x-tga", "tga")
RAF = Format("RAF", "image/x-fuji-raf", "raf")
ORF = Format("ORF", "image/x-olympus-orf", "orf")
RW2 = Format("RW2", "image/x-panasonic-rw2", "rw2")

COMMON = {known.name: known for known in (JPEG, PNG, GIF, TIFF)}
# Where one signature begins like another, the longer one stands first.
SIGNATURES: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff\xf7", JLS),
    *((magic, COMMON[name]) for magic, name in signatures.SIGNATURES),
    (b"II\xbc\x01", JXR),
    (b"IIRO", ORF),
    (b"IIRS", ORF),
    (b"IIU\0", RW2),
    (b"FUJIFILMCCD-RAW", RAF),
    (b"\xff\x4f\xff\x51", J2C),
    (b"\xff\x0a", JXL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", JXL),
    (b"8BPS", PSD),
    (b"gimp xcf ", XCF),
    (b"DDS |\0\0\0", DDS),
    (b"\xabKTX 11\xbb\r\n\x1a\n", KTX),
    (b"\xabKTX 20\xbb\r\n\x1a\n", KTX2),
    (b"v/1\x01", EXR),
    (b"#?RADIANCE\n", HDR),
    (b"#?RGBE\n", HDR),
    (b"qoif", QOI),
    (b"SIMPLE  =                    T", FITS),
    (b"SDPX", DPX),
    (b"XPDS", DPX),
    (b"icns", ICNS),
    (b"\x59\xa6\x6a\x95", SUN),
    (b"\xd7\xcd\xc6\x9a", WMF),
    (b"/* XPM */", XPM),
)
# Signatures that are too short, or in another place, to be trusted alone.
PATTERNS: tuple[tuple[re.Pattern[bytes], Format], ...] = tuple(
    (re.compile(pattern, re.DOTALL), found)
    for pattern, found in (
        (rb"RIFF....WEBPVP8[ LX]", WEBP),
        (
            rb"BM.{12}(?:\x0c|\x10|\x28|\x34|\x38|\x40|\x6c|\x7c)\0\0\0",
            BMP,
        ),  # the size of a known header
        (rb"\0\0\x01\0[^\0]\0.{2}[\0\xff].{12}", ICO),
        (rb"\0\0\x02\0[^\0]\0.{2}[\0\xff].{12}", CUR),
        (rb"\x0a[\0\x02-\x05][\0\x01][\x01\x02\x04\x08].{60}\0", PCX),
        (rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]", SGI),
        (rb"AT&TFORM....DJV[UM]", DJVU),
        (rb"FORM....(?:ILBM|PBM )", ILBM),
        (rb"\x01\0\0\0.{36} EMF", EMF),
        (rb"P[14]\s+(?:#[^\n]*\n\s*)*\d+\s", PBM),
        (rb"P[25]\s+(?:#[^\n]*\n\s*)*\d+\s", PGM),
        (rb"P[36]\s+(?:#[^\n]*\n\s*)*\d+\s", PPM),
        (rb"P7\n(?:#[^\n]*\n)*WIDTH \d", PAM),
        (rb"P[Ff]\n\d+ \d+\s-?\d", PFM),
    )
)
# ISO base media: the major brand or, if that is general, a compatible one.
BRANDS = {
    b"avif": AVIF,
    b"avis": AVIF,
    b"heic": HEIC,
    b"heix": HEIC,
    b"heim": HEIC,
    b"heis": HEIC,
    b"hevc": HEIC_SEQUENCE,
    b"hevx": HEIC_SEQUENCE,
    b"hevm": HEIC_SEQUENCE,
    b"hevs": HEIC_SEQUENCE,
    b"mif1": HEIF,
    b"mif2": HEIF,
    b"msf1": HEIF_SEQUENCE,
    b"crx ": CR3,
}
GENERAL = frozenset({b"mif1", b"mif2", b"msf1"})
JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
JP2_BRANDS = {b"jp2 ": JP2, b"jpx ": JPX, b"jpm ": JPM, b"jph ": JPH}
BRANDS_LIMIT = 32  # read of one file
TGA_FOOTER = b"TRUEVISION-XFILE.\0"  # the last bytes of a TGA; the older version has no signature
TAIL_BYTES = len(TGA_FOOTER)

_SVG_PROLOG = re.compile(
    rb"(?:\xef\xbb\xbf)?"
    rb"(?:\s|<\?.*?\?>|<!--.*?-->|<!DOCTYPE\s+(?:[\w.-]+:)?svg\b[^\[>]*(?:\[.*?\]\s*)?>)*",
    re.DOTALL,
)
_SVG_ROOT = re.compile(rb"<(?:([A-Za-z_][\w.-]*):)?svg(?=[\s>/])([^>]*)")
_SVG_NAMESPACE = re.compile(
    rb"""\sxmlns(?::([\w.-]+))?\s*=\s*["']http://www\.w3\.org/2000/svg["']"""
)


def identify(head: bytes, tail: bytes = b"") -> Format:
    """The format of a file with the first bytes `head` (`HEAD_BYTES` at most) and last `tail`.

    Raises Unsupported if it is not an image.
    """
    found = _signature(head) or _brand(head) or _pattern(head) or _svg(head)
    if found is None and tail.endswith(TGA_FOOTER):
        found = TGA
    if found is None:
        raise Unsupported("This is not an image of a known format.")
    return found


def _signature(head: bytes) -> Format | None:
    return next((found for signature, found in SIGNATURES if head.startswith(signature)), None)


def _pattern(head: bytes) -> Format | None:
    return next((found for pattern, found in PATTERNS if pattern.match(head)), None)


def _brand(head: bytes) -> Format | None:
    """The brand of a file of boxes (ISO/IEC 14496-12, 23008-12, 15444)."""
    if head.startswith(JP2_SIGNATURE):
        return JP2_BRANDS.get(head[20:24], JP2)
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), 16 + 4 * BRANDS_LIMIT, len(head))
    brands = [head[8:12], *(head[place : place + 4] for place in range(16, end - 3, 4))]
    if brands[0] not in BRANDS:
        return None
    special = (
        brands[0]
        if brands[0] not in GENERAL
        else next((b for b in brands if b in BRANDS.keys() - GENERAL), b"")
    )
    return BRANDS[special or brands[0]]


def _svg(head: bytes) -> Format | None:
    """SVG: XML in UTF-8 with the root element `svg` in SVG's namespace.

    Comments and a DOCTYPE may precede it.
    """
    prolog = _SVG_PROLOG.match(head)
    root = _SVG_ROOT.match(head, prolog.end() if prolog else 0)
    if root is None:
        return None
    prefix, attributes = root.groups()
    return (
        SVG
        if any(bound == (prefix or b"") for bound in _SVG_NAMESPACE.findall(attributes))
        else None
    )
