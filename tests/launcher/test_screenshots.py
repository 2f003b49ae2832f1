"""The pictures of the documentation: they are small, and all that are named are there."""

import re
import struct
import zlib

import pytest

from launcher.programs import ROOT
from tools.screenshots import png

IMAGES = ROOT / "docs" / "images"
WIDTH = 3


def _picture(rows: list[bytes]) -> bytes:
    """A PNG with these rows of RGB, each with the byte of its filter."""
    header = struct.pack(">IIBBBBB", WIDTH, len(rows), 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return png.SIGNATURE + b"".join(
        struct.pack(">I4s", len(body), name) + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


def test_a_picture_has_the_same_pixels_with_a_palette() -> None:
    # The same three pixels in each row, by each of the filters.
    plain = bytes([10, 20, 30, 40, 50, 60, 70, 80, 90])
    left = bytes([10, 20, 30, 30, 30, 30, 30, 30, 30])
    mean = bytes([5, 10, 15, 15, 15, 15, 15, 15, 15])
    filtered = [b"\0" + plain, b"\1" + left, b"\2" + bytes(9), b"\3" + mean, b"\4" + bytes(9)]
    small = png.shrink(_picture(filtered))
    chunks = dict(png._chunks(small))
    palette = chunks[b"PLTE"]
    content = zlib.decompress(chunks[b"IDAT"])
    rows = [content[start + 1 : start + 1 + WIDTH] for start in range(0, len(content), WIDTH + 1)]
    pixels = [b"".join(palette[3 * at : 3 * at + 3] for at in row) for row in rows]
    assert pixels == [plain] * len(filtered)
    with pytest.raises(ValueError, match="no PNG"):
        png.shrink(b"GIF89a")


def test_every_picture_that_a_page_names_is_there_and_the_reverse() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {
        name for page in pages for name in re.findall(r"images/([\w-]+\.png)", page.read_text())
    }
    assert named == {path.name for path in IMAGES.glob("*.png")}
