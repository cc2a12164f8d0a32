"""Files of boxes (ISO 14496-12): pictures, films and sounds, which their brands tell apart."""

from __future__ import annotations

from typing import NamedTuple

FTYP = b"ftyp"
JPEG2000 = b"\0\0\0\x0cjP  \r\n\x87\n"  # a box before the brands, in files of that family
CODESTREAM = b"\xff\x4f\xff\x51\0"  # JPEG 2000 without boxes
JXL = b"\0\0\0\x0cJXL \r\n\x87\n"
BRANDS_BYTES = 1024  # of a box of brands; honest ones have some dozens


class Format(NamedTuple):
    """The media type of a file, its name and its usual extension."""

    content_type: str
    description: str
    extension: str


HEIC = Format("image/heic", "HEIC image", ".heic")
HEIC_SEQUENCE = Format("image/heic-sequence", "HEIC image sequence", ".heics")
HEIF = Format("image/heif", "HEIF image", ".heif")
HEIF_SEQUENCE = Format("image/heif-sequence", "HEIF image sequence", ".heifs")
AVIF = Format("image/avif", "AVIF image", ".avif")
CR3 = Format("image/x-canon-cr3", "Canon raw image", ".cr3")
MP4 = Format("video/mp4", "MPEG-4 video", ".mp4")
M4V = Format("video/x-m4v", "Apple MPEG-4 video", ".m4v")
M4A = Format("audio/mp4", "MPEG-4 audio", ".m4a")
M4B = Format("audio/mp4", "MPEG-4 audiobook", ".m4b")
MOV = Format("video/quicktime", "QuickTime film", ".mov")
GP3 = Format("video/3gpp", "3GPP video", ".3gp")
GP2 = Format("video/3gpp2", "3GPP2 video", ".3g2")
JP2 = Format("image/jp2", "JPEG 2000 image", ".jp2")
JPX = Format("image/jpx", "JPEG 2000 image, extended", ".jpf")
JPM = Format("image/jpm", "JPEG 2000 compound image", ".jpm")
MJ2 = Format("video/mj2", "Motion JPEG 2000", ".mj2")
JPH = Format("image/jph", "High-throughput JPEG 2000 image", ".jph")
J2C = Format("image/j2c", "JPEG 2000 codestream", ".j2c")
JPEG_XL = Format("image/jxl", "JPEG XL image", ".jxl")

BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis"), HEIC),
    **dict.fromkeys((b"hevc", b"hevx", b"hevm", b"hevs"), HEIC_SEQUENCE),
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    b"crx ": CR3, b"qt  ": MOV,
    **dict.fromkeys((b"M4A ", b"M4P "), M4A), b"M4B ": M4B,
    **dict.fromkeys((b"M4V ", b"M4VH", b"M4VP"), M4V),
    b"jp2 ": JP2, b"jpx ": JPX, b"jpm ": JPM, b"mjp2": MJ2, b"mj2s": MJ2, b"jph ": JPH,
    **dict.fromkeys(
        (b"isom", b"mp41", b"mp42", b"avc1", b"dash", b"MSNV", b"F4V ", b"f4v ", b"mmp4",
         b"XAVC", b"NDSC", b"NDSH", b"NDSM", b"NDSP", b"cmfc", b"hvc1"), MP4,
    ),
}  # fmt: skip
# Brands that say how the boxes are laid out, not what is in them: another one may say more.
VAGUE = {b"mif1": HEIF, b"mif2": HEIF, b"msf1": HEIF_SEQUENCE, b"miaf": HEIF}


def describe(head: bytes) -> Format | None:
    """The format of a file by its signature and brands; None if it is none of boxes.

    The major brand decides. Where it is vague or unknown, the first known one that the file says
    to be compatible with does.
    """
    if head.startswith(CODESTREAM):
        return J2C
    if head.startswith(JXL):
        return JPEG_XL
    brands = _brands(head.removeprefix(JPEG2000))
    if not brands:
        return JP2 if head.startswith(JPEG2000) else None
    known = [found for found in map(_format, brands) if found]
    if _format(brands[0]):
        return known[0]
    vague = [VAGUE[brand] for brand in brands if brand in VAGUE]
    pictures = [found for found in known if found.content_type.startswith("image/")]
    if vague:
        return pictures[0] if pictures else vague[0]
    return known[0] if known else None


def _brands(box: bytes) -> list[bytes]:
    """The major brand and the compatible ones of a box of brands at the beginning."""
    size = int.from_bytes(box[:4], "big")
    if box[4:8] != FTYP or size < 12:
        return []
    listed = box[16 : min(size, BRANDS_BYTES)]
    return [box[8:12], *(listed[at : at + 4] for at in range(0, len(listed) - 3, 4))]


def _format(brand: bytes) -> Format | None:
    if brand.startswith(b"3g2"):
        return GP2
    if brand.startswith((b"3gp", b"3gr", b"3gs", b"3ge", b"3gg")):
        return GP3
    if brand[:3] == b"iso" and brand not in BRANDS:  # iso2 to isob: revisions of the file format
        return MP4
    return BRANDS.get(brand)
