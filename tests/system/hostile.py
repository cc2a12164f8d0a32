"""Pictures that are valid and cost their decoder far more than their bytes suggest."""

from __future__ import annotations

import struct

LEVELS = 13  # bits of precision by which successive approximation may refine a coefficient
RUN = 16384 + 0b10101010101010  # blocks that one end-of-band code of ours skips


def slow_jpeg(side: int, bands: int) -> bytes:
    """A grey progressive JPEG of `side` x `side` pixels with `bands` * 14 scans that add nothing.

    Every scan is well-formed (ITU T.81, G.1): each of the first `bands` AC coefficients is sent at
    the coarsest approximation and refined bit by bit, always by end-of-band runs over all blocks.
    """
    blocks = ((side + 7) // 8) ** 2
    head = b"\xff\xd8" + _segment(0xDB, b"\0" + b"\1" * 64)
    head += _segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    head += _segment(0xC4, b"\0\1" + bytes(15) + b"\0")  # DC: one code of one bit, "no difference"
    head += _segment(
        0xC4, b"\x10\1" + bytes(15) + b"\xe0"
    )  # AC: one code of one bit, "end of band for 2^14 blocks"
    code = "0" + "10" * 7  # the code and the 14 bits that it adds
    bits = code * (blocks // RUN + 1)
    size = (len(bits) + 7) // 8
    nothing = int(bits.ljust(8 * size, "0"), 2).to_bytes(size, "big")
    scans = [_scan(0, 0, 0) + bytes(blocks // 8 + 1)]
    for band in range(1, bands + 1):
        scans.append(_scan(band, 0, LEVELS) + nothing)
        scans += [_scan(band, level, level - 1) + nothing for level in range(LEVELS, 0, -1)]
    return head + b"".join(scans) + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _scan(band: int, high: int, low: int) -> bytes:
    return _segment(0xDA, bytes([1, 1, 0, band, band, high << 4 | low]))
