"""Makes a picture small: at most 256 colours, packed as tightly as can be."""

import struct
import zlib
from collections import Counter

MAGIC = b"\x89PNG\r\n\x1a\n"
COLOURS = 256


def shrink(png):
    """The same picture. Where there are too many colours, the rarer ones become the nearest of the others."""
    width, height, channels, packed = _parts(png)
    rows = _rows(zlib.decompress(packed), width * channels, height, channels)
    pixels = [row[at:at + 3] for row in rows for at in range(0, len(row), channels)]
    counts = Counter(map(bytes, pixels))
    # Grounds and inks, which are seen most, and then always what is least like all of those.
    palette = [colour for colour, _ in counts.most_common(COLOURS // 2)]
    number = {colour: place for place, colour in enumerate(palette)}
    rest = {colour: min((_distance(colour, known), place) for place, known in enumerate(palette)) for colour in counts.keys() - number.keys()}
    while rest:
        if len(palette) == COLOURS:
            number.update((colour, place) for colour, (_, place) in rest.items())
            break
        odd = max(rest, key=lambda colour: (rest[colour][0], colour))
        del rest[odd]
        number[odd] = len(palette)
        palette.append(odd)
        for colour, nearest in rest.items():
            rest[colour] = min(nearest, (_distance(colour, odd), number[odd]))
    flat = bytes(number[bytes(pixel)] for pixel in pixels)
    lines = b"".join(b"\0" + flat[at:at + width] for at in range(0, len(flat), width))
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"PLTE", b"".join(palette)), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")]
    return MAGIC + b"".join(_chunk(*chunk) for chunk in chunks)


def _distance(one, other):
    return sum((a - b) ** 2 for a, b in zip(one, other))


def _chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _parts(png):
    assert png.startswith(MAGIC)
    at, packed = len(MAGIC), b""
    while at < len(png):
        length, name = struct.unpack(">I4s", png[at:at + 8])
        data = png[at + 8:at + 8 + length]
        if name == b"IHDR":
            width, height, depth, kind = struct.unpack(">IIBB", data[:10])
            assert depth == 8 and kind in (2, 6), "neither RGB nor RGBA of 8 bits"
        elif name == b"IDAT":
            packed += data
        at += length + 12
    return width, height, {2: 3, 6: 4}[kind], packed


def _rows(data, length, height, channels):
    """Undoes the filters of a PNG."""
    above = bytearray(length)
    for at in range(0, height * (length + 1), length + 1):
        kind, row = data[at], bytearray(data[at + 1:at + 1 + length])
        for i in range(length):
            left = row[i - channels] if i >= channels else 0
            if kind == 1:
                row[i] = (row[i] + left) & 255
            elif kind == 2:
                row[i] = (row[i] + above[i]) & 255
            elif kind == 3:
                row[i] = (row[i] + (left + above[i]) // 2) & 255
            elif kind == 4:
                corner = above[i - channels] if i >= channels else 0
                guess = left + above[i] - corner
                distances = [(abs(guess - left), 0, left), (abs(guess - above[i]), 1, above[i]), (abs(guess - corner), 2, corner)]
                row[i] = (row[i] + min(distances)[2]) & 255
        yield row
        above = row
