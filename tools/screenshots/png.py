"""PNG files of screens, made small: at most 256 colours, each row as it compresses best.

A page has few colours besides the shades at the edges of letters, and nobody sees which of these
shades two pixels share.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = 256
# Bytes of a pixel by the colour type of the header: RGB, RGBA. Chromium writes no others.
PIXEL_BYTES = {2: 3, 6: 4}
PALETTE = 3


def shrink(picture: bytes) -> bytes:
    """The picture with a palette; ValueError for what is no PNG of a screen."""
    if not picture.startswith(SIGNATURE):
        raise ValueError("no PNG")
    parts = list(_chunks(picture))
    width, height, depth, kind = struct.unpack_from(">IIBB", parts[0][1])
    if depth != 8 or kind not in PIXEL_BYTES:
        raise ValueError(f"a PNG with {depth} bits and the colour type {kind}")
    packed = zlib.decompress(b"".join(body for name, body in parts if name == b"IDAT"))
    step = PIXEL_BYTES[kind]
    rows = [_pixels(row, step) for row in _rows(packed, width * step, step)]
    palette, places = _palette(rows)
    # Without a filter: neighbours are equal, not alike.
    content = b"".join(b"\0" + bytes(map(places.__getitem__, row)) for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, PALETTE, 0, 0, 0)
    chunks = (
        _chunk(b"IHDR", header),
        _chunk(b"PLTE", b"".join(palette)),
        _chunk(b"IDAT", zlib.compress(content, 9)),
        _chunk(b"IEND", b""),
    )
    return SIGNATURE + b"".join(chunks)


def _chunks(picture: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, body) of each chunk."""
    offset = len(SIGNATURE)
    while offset < len(picture):
        size, name = struct.unpack_from(">I4s", picture, offset)
        start = offset + 8
        yield name, picture[start : start + size]
        offset = start + size + 4


def _chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(name + body)
    return struct.pack(">I4s", len(body), name) + body + struct.pack(">I", checksum)


def _rows(packed: bytes, size: int, step: int) -> Iterator[bytes]:
    """The rows without their filters (PNG, section 9); each has `size` bytes."""
    above = bytes(size)
    for start in range(0, len(packed), size + 1):
        row = packed[start + 1 : start + 1 + size]
        above = _unfilter(packed[start], row, above, step)
        yield above


def _unfilter(kind: int, row: bytes, above: bytes, step: int) -> bytes:
    if kind == 0:
        return row
    if kind == 1:
        plain = bytearray(row)
        for channel in range(step):
            sums = accumulate(row[channel::step])
            plain[channel::step] = bytes(total & 255 for total in sums)
        return bytes(plain)
    if kind == 2:
        return bytes((a + b) & 255 for a, b in zip(row, above, strict=True))
    plain = bytearray(row)
    for index, value in enumerate(row):
        left = plain[index - step] if index >= step else 0
        if kind == 3:
            guess = (left + above[index]) // 2
        else:
            corner = above[index - step] if index >= step else 0
            guess = _paeth(left, above[index], corner)
        plain[index] = (value + guess) & 255
    return bytes(plain)


def _paeth(left: int, above: int, corner: int) -> int:
    estimate = left + above - corner
    distances = (abs(estimate - left), abs(estimate - above), abs(estimate - corner))
    return (left, above, corner)[distances.index(min(distances))]


def _pixels(row: bytes, step: int) -> list[bytes]:
    """The colours of a row; a screen has nothing that is transparent."""
    return [row[start : start + 3] for start in range(0, len(row), step)]


def _palette(rows: list[list[bytes]]) -> tuple[list[bytes], dict[bytes, int]]:
    """The commonest colours, and for every colour the place of the nearest of these."""
    counts: Counter[bytes] = Counter()
    for row in rows:
        counts.update(row)
    palette = [colour for colour, _ in counts.most_common(COLOURS)]
    places = {colour: place for place, colour in enumerate(palette)}
    for colour in counts:
        if colour not in places:
            places[colour] = min(range(COLOURS), key=lambda at: _distance(palette[at], colour))
    return palette, places


def _distance(first: bytes, second: bytes) -> int:
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True))
